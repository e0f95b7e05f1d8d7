//! How programs end that have children: by themselves, and by a kill.

use super::*;

#[test]
fn a_program_that_returns_waits_for_its_children_and_says_nothing() {
    const TEST: &str = "ends::a_program_that_returns_waits_for_its_children_and_says_nothing";
    if !is_again() {
        let (exit, stdout, stderr) = again(TEST, "");
        assert_eq!((exit, stderr.as_str()), (Exit::Code(0), ""));
        assert_eq!(stdout.matches("one of eight is done\n").count(), 8, "{stdout}");
        return;
    }
    in_tests();
    for _ in 0..8 {
        // A pace: the program has returned by then.
        let late = |_: ()| {
            thread::sleep(Duration::from_millis(300));
            println!("one of eight is done");
        };
        drop(Process::builder(late, ()).start().expect("it starts"));
    }
}

/// Ends as it is told, with a child that waits for a word, a daemonic one, and one that does not hear SIGTERM either.
fn end_with_children((port, how): (u16, u32)) -> ExitCode {
    let deaf = |port: u16| {
        brigade_os::signals::hold_back();
        say_pid_and_stay(port);
    };
    Process::builder(|port| say_and_wait(port, "child"), port).start().expect("it starts");
    Process::builder(say_pid_and_stay, port).daemon(true).start().expect("it starts");
    Process::builder(deaf, port).daemon(true).start().expect("it starts");
    say_and_wait(port, "root");
    match how {
        0 => ExitCode::from(3),
        1 => exit(3),
        _ => panic!("on purpose"),
    }
}

#[test]
fn however_a_program_ends_by_itself_daemonic_children_are_ended_and_others_waited_for() {
    in_tests();
    for (how, code) in [(0, 3), (1, 3), (2, 101)] {
        let ears = Ears::open();
        let process = Process::builder(end_with_children, (ears.port, how)).start().expect("it starts");
        let (mut child, mut root, mut daemonic) = (None, None, vec![]);
        for (line, stream) in (0..4).map(|_| ears.hear()) {
            match line.as_str() {
                "child" => child = Some(stream),
                "root" => root = Some(stream),
                _ => daemonic.push(stream),
            }
        }
        let (mut child, mut root) = (child.expect("a child"), root.expect("a root"));
        tell(&mut root);
        assert!(ended(&mut root), "{how}: its function has ended");
        assert_eq!(process.join_timeout(Duration::from_millis(300)), None, "{how}: it waits for its child");
        tell(&mut child);
        assert_eq!(process.join(), Exit::Code(code), "{how}");
        assert!(ended(&mut child) && daemonic.iter_mut().all(ended), "{how}");
    }
}

#[test]
fn a_program_that_has_ended_leaves_no_template_behind() {
    in_tests();
    let ears = Ears::open();
    let root = |port: u16| {
        Process::builder(|_: ()| (), ()).start().expect("it starts").join();
        say(port, &template().to_string());
    };
    let root = Process::builder(root, ears.port).start().expect("it starts");
    let template = ears.hear().0.parse().expect("a number");
    assert_eq!(root.join(), Exit::Code(0));
    assert!(Body::of(Pid::new(template).expect("a number")).is_err(), "it is not even a zombie");
}

#[test]
fn at_the_end_of_a_program_a_start_is_an_error_and_no_hang() {
    extern "C" fn late() {
        let told = Process::builder(sleep_long, ()).name("late").start().expect_err("it is too late");
        let is_told = told.to_string() == "process late cannot be started: this program is at its end";
        brigade_os::birth::leave(if is_told { 7 } else { 8 });
    }
    in_tests();
    let root = |_: ()| {
        // What was registered first is called last.
        brigade_os::kin::at_exit(late).expect("there is room");
        Process::builder(|_: ()| (), ()).start().expect("it starts");
    };
    let root = Process::builder(root, ()).start().expect("it starts");
    assert_eq!(root.join(), Exit::Code(7));
}

#[test]
fn of_a_killed_parent_the_daemonic_children_die_and_the_others_go_on() {
    in_tests();
    for method in METHODS {
        let ears = Ears::open();
        let root = |(port, is_fork): (u16, bool)| {
            let method = METHODS[usize::from(!is_fork)];
            let start = |function: fn(u16), daemon| {
                let builder = Process::builder(function, port).daemon(daemon).start_method(method);
                builder.start().expect("it starts");
            };
            start(say_pid_and_stay, true);
            start(
                |port| {
                    let _stream = say(port, "busy");
                    loop {
                        std::hint::spin_loop();
                    }
                },
                true,
            );
            start(
                |port| {
                    let parent = parent_process().expect("it has one");
                    assert!(parent.is_alive() && !parent.join_timeout(Duration::ZERO));
                    let _stream = say(port, "waits");
                    parent.join();
                    assert!(!parent.is_alive());
                    say(port, "goes on");
                },
                false,
            );
            sleep_long(());
        };
        let told = (ears.port, method == StartMethod::Fork);
        let root = Process::builder(root, told).start().expect("it starts");
        let (mut other, mut daemonic): (Vec<_>, Vec<_>) =
            (0..3).map(|_| ears.hear()).partition(|(line, _)| line == "waits");
        root.kill();
        assert_eq!(ears.hear().0, "goes on", "{method:?}");
        assert!(daemonic.iter_mut().chain(&mut other).all(|(_, stream)| ended(stream)));
        assert_eq!((root.join(), daemonic.len()), (Exit::Signal(9), 2));
    }
}

/// Says whether it is daemonic, and has a child that is as it is.
fn tree((port, depth): (u16, u32)) {
    let _stream = say(port, if current_process().daemon() { "daemonic" } else { "not" });
    if depth > 1 {
        Process::builder(tree, (port, depth - 1)).start().expect("it starts");
    }
    sleep_long(());
}

#[test]
fn a_daemonic_tree_four_deep_is_killed_whole_by_its_root() {
    in_tests();
    let ears = Ears::open();
    let root = Process::builder(tree, (ears.port, 4)).daemon(true).start().expect("it starts");
    let mut all: Vec<_> = (0..4).map(|_| ears.hear()).collect();
    assert!(all.iter().all(|(line, _)| line == "daemonic"), "who is daemonic has daemonic children");
    root.kill();
    assert!(all.iter_mut().all(|(_, stream)| ended(stream)));
    assert_eq!(root.join(), Exit::Signal(9));
}
