//! A manager and its clients, any of which may be killed, tried with real processes.

mod kit;

use brigade::StartMethod;
use brigade::manager::{DictProxy, ListProxy, Manager, ManagerClient, ManagerError, ValueProxy};
use brigade::sync::Lock;
use kit::{METHODS, Marks, eventually, kill, state, tireless};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

brigade::test_entry!(in_tests);

fn manager() -> Manager {
    in_tests();
    Manager::new().expect("a manager")
}

#[test]
fn three_processes_append_to_a_list_and_none_is_lost() {
    let manager = manager();
    for method in METHODS {
        let (list, pool) = (manager.list::<String>().unwrap(), tireless(3, method));
        let append =
            |(list, n): (ListProxy<String>, u32)| list.append(&format!("entry {n}")).expect("it lives");
        pool.for_each(append, (0..15).map(|n| (list.clone(), n))).unwrap();
        let there: BTreeSet<String> = list.to_vec().unwrap().into_iter().collect();
        assert_eq!(there, (0..15).map(|n| format!("entry {n}")).collect(), "{method:?}");
    }
}

#[test]
fn a_list_does_what_lists_do() {
    let manager = manager();
    let list = manager.list::<u32>().unwrap();
    assert!(list.is_empty().unwrap());
    list.extend(&[1, 2, 3]).unwrap();
    list.append(&4).unwrap();
    list.insert(0, &0).unwrap();
    list.insert(5, &5).unwrap();
    list.set(1, &10).unwrap();
    assert_eq!(list.to_vec().unwrap(), [0, 10, 2, 3, 4, 5]);
    assert_eq!((list.get(1).unwrap(), list.get(6).unwrap(), list.len().unwrap()), (Some(10), None, 6));
    assert_eq!(
        (list.pop().unwrap(), list.remove(0).unwrap(), list.remove(9).unwrap()),
        (Some(5), Some(0), None)
    );
    assert_eq!(list.update_with(0, |n| n + 1).unwrap(), 11);
    for wrong in [list.set(4, &0), list.insert(5, &0), list.update_with(4, |n| n).map(drop)] {
        let error = wrong.expect_err("there are four");
        assert!(matches!(error, ManagerError::OutOfRange { len: 4, .. }), "{error}");
    }
    list.clear().unwrap();
    assert_eq!((list.pop().unwrap(), list.to_vec().unwrap()), (None, vec![]));
}

#[test]
fn a_dict_does_what_dicts_do() {
    let manager = manager();
    let dict = manager.dict::<String, Vec<u8>>().unwrap();
    let (a, b) = ("a".to_owned(), "b".to_owned());
    assert_eq!(dict.insert(&a, &vec![1]).unwrap(), None);
    assert_eq!(dict.insert(&a, &vec![2]).unwrap(), Some(vec![1]));
    dict.update(&BTreeMap::from([(b.clone(), vec![3])])).unwrap();
    assert_eq!(
        (dict.get(&b).unwrap(), dict.contains(&a).unwrap(), dict.len().unwrap()),
        (Some(vec![3]), true, 2)
    );
    assert_eq!(dict.update_with(&a, |was| [was.unwrap_or_default(), vec![9]].concat()).unwrap(), [2, 9]);
    assert_eq!(dict.items().unwrap(), [(a.clone(), vec![2, 9]), (b.clone(), vec![3])]);
    assert_eq!((dict.remove(&a).unwrap(), dict.remove(&a).unwrap()), (Some(vec![2, 9]), None));
    dict.clear().unwrap();
    assert!(dict.is_empty().unwrap() && !dict.contains(&b).unwrap());
}

#[test]
fn values_and_namespaces_hold_what_they_are_given_with_its_type() {
    let manager = manager();
    let value = manager.value(&1.5).unwrap();
    value.set(&2.5).unwrap();
    assert_eq!((value.get().unwrap(), value.update_with(|n| n * 2.0).unwrap()), (2.5, 5.0));
    let space = manager.namespace("settings").unwrap();
    space.set("depth", &3_u32).unwrap();
    space.set("name", &"bob".to_owned()).unwrap();
    let same = manager.namespace("settings").unwrap();
    assert_eq!((same.get::<u32>("depth").unwrap(), same.get::<u32>("height").unwrap()), (Some(3), None));
    let error = same.get::<u32>("name").expect_err("it is a text").to_string();
    assert_eq!(error, "name is of type alloc::string::String, and not u32");
    assert_eq!(same.names().unwrap(), ["name", "depth"]);
    assert!(same.remove("name").unwrap() && !same.remove("name").unwrap());
    let error = manager.list_named::<u8>("settings").expect_err("it is no list");
    assert!(matches!(error, ManagerError::OtherType { .. }), "{error}");
}

#[test]
fn compound_updates_by_many_are_none_too_few() {
    let (manager, pool) = (manager(), tireless(3, StartMethod::Fork));
    let (value, dict) = (manager.value(&0_u64).unwrap(), manager.dict::<String, u64>().unwrap());
    let add = |(value, dict): (ValueProxy<u64>, DictProxy<String, u64>)| {
        for n in 0..100 {
            value.update_with(|n| n + 1).expect("it lives");
            dict.update_with(&format!("{}", n % 3), |was| was.unwrap_or(0) + 1).expect("it lives");
        }
    };
    pool.for_each(add, vec![(value.clone(), dict.clone()); 6]).unwrap();
    let counted: u64 = dict.items().unwrap().into_iter().map(|(_, count)| count).sum();
    assert_eq!((value.get().unwrap(), counted), (600, 600));
}

#[test]
fn clients_that_are_killed_at_any_moment_harm_nobody() {
    let (manager, pool) = (manager(), tireless(3, StartMethod::Fork));
    let list = manager.list::<Vec<u8>>().unwrap();
    let churn = |list: ListProxy<Vec<u8>>| {
        for _ in 0..20 {
            list.append(&vec![7; 2_000]).expect("it lives");
            let whole = list.pop().expect("it lives").expect("somebody's, whole");
            assert_eq!(whole, [7; 2_000]);
        }
        process::id()
    };
    let mut killed = BTreeSet::new();
    let mut pids = pool.map_unordered(churn, std::iter::repeat(list.clone())).chunk_size(1);
    while killed.len() < 100 {
        let pid = pids.next().expect("without end").expect("it is tried again");
        if killed.insert(pid) {
            kill("KILL", pid);
        }
    }
    drop((pids, pool));
    assert!(list.to_vec().unwrap().iter().all(|one| *one == [7; 2_000]));
    assert!(list.len().unwrap() <= 100, "one of each that was killed, at most");
}

#[test]
fn when_the_manager_dies_the_next_use_is_an_error_here_and_in_workers() {
    for method in METHODS {
        let (manager, pool) = (manager(), tireless(1, method));
        let list = manager.list::<u32>().unwrap();
        let append = |list: ListProxy<u32>| list.append(&1).map_err(|error| error.to_string());
        assert_eq!(pool.submit(append, list.clone()).join(), Ok(Ok(())));
        kill("KILL", manager.pid());
        let here = loop {
            // The kill is on its way.
            if let Err(error) = list.append(&2) {
                break error.to_string();
            }
        };
        let there = pool.submit(append, list.clone()).join().unwrap().expect_err("it is dead");
        for error in [here, there] {
            assert!(error.contains("no manager at @brigade-") && error.lines().count() == 1, "{error}");
        }
        assert!(manager.list::<u32>().is_err());
    }
}

#[test]
fn whoever_waits_for_an_answer_when_the_manager_dies_waits_no_longer() {
    let manager = manager();
    let list = manager.list::<u64>().unwrap();
    let asking =
        thread::spawn(move || (0..).find_map(|n| list.append(&n).err()).map(|error| error.to_string()));
    let watched = manager.list::<u8>().unwrap();
    while watched.len().is_ok_and(|len| len < 50) {
        watched.append(&0).unwrap();
    }
    kill("KILL", manager.pid());
    assert!(asking.join().unwrap().expect("an error").contains("no manager at"));
}

#[test]
fn a_wrong_key_and_an_empty_one_are_refused() {
    in_tests();
    let error = Manager::builder().key("").start().expect_err("everybody has that");
    assert!(matches!(error, ManagerError::EmptyKey), "{error}");
    let manager = Manager::builder().key("open sesame").start().expect("a manager");
    let address = manager.address().to_owned();
    assert!(matches!(Manager::connect(&address, b""), Err(ManagerError::EmptyKey)));
    let error = Manager::connect(&address, b"open barley").expect_err("it is another");
    assert_eq!(error.to_string(), format!("the manager at {address} has another key"));
    assert!(!format!("{manager:?}").contains("sesame"));
    let client = Manager::connect(&address, b"open sesame").expect("it is that");
    client.list_named("jobs").unwrap().append(&5_i32).unwrap();
    assert_eq!(manager.list_named::<i32>("jobs").unwrap().to_vec().unwrap(), [5]);
}

/// A manager there, quickly, one after the other; each has its own objects.
fn restart(address: &str) {
    let mut former: Option<ListProxy<u32>> = None;
    for n in 0..20 {
        let manager = Manager::builder().address(address).key("k").start().expect("the former has ended");
        if let Some(former) = former {
            // The first finds the old connection closed, the second finds out why.
            former.len().expect_err("it is gone");
            let error = former.len().expect_err("it is gone");
            assert!(matches!(error, ManagerError::Replaced { .. }), "{n}: {error}");
        }
        let list = manager.list::<u32>().expect("a list");
        list.append(&n).expect("it lives");
        assert_eq!(list.to_vec().expect("it lives"), [n]);
        former = Some(list);
        if n % 2 == 1 {
            kill("KILL", manager.pid());
        }
    }
}

#[test]
fn managers_follow_each_other_at_one_address_without_a_pause() {
    in_tests();
    restart(&format!("@brigade-test-{}", process::id()));
    let path = std::env::temp_dir().join(format!("brigade-manager-{}", process::id()));
    let path = path.to_str().expect("a path of text");
    restart(path);
    assert!(!fs::exists(path).unwrap(), "no socket is left");
}

#[test]
fn a_socket_that_a_killed_program_left_is_no_obstacle_and_a_living_one_is() {
    in_tests();
    let path = std::env::temp_dir().join(format!("brigade-left-{}", process::id()));
    let address = path.to_str().expect("a path of text");
    drop(UnixListener::bind(&path).expect("a socket"));
    let manager = Manager::builder().address(address).start().expect("nobody listens there");
    let error = Manager::builder().address(address).start().expect_err("somebody does").to_string();
    assert!(error.contains(address) && error.contains("in use"), "{error}");
    assert!(manager.list::<u8>().is_ok(), "it goes on");
    drop(manager);
    assert!(!path.exists());
    fs::write(&path, "mine").unwrap();
    assert!(Manager::builder().address(address).start().is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine", "a file of somebody else's");
    fs::remove_file(&path).unwrap();
}

/// How many sockets the process that calls it has open.
fn sockets() -> usize {
    let files = fs::read_dir("/proc/self/fd").expect("/proc").flatten();
    let links = files.filter_map(|file| fs::read_link(file.path()).ok());
    links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
}

#[test]
fn managers_that_have_ended_leave_no_connection_open() {
    let pool = tireless(1, StartMethod::Fork);
    let left = |_: ()| {
        // The first one brings along what all share.
        drop(Manager::new().expect("a manager"));
        let before = sockets();
        (0..10).for_each(|_| drop(Manager::new().expect("a manager")));
        sockets().saturating_sub(before)
    };
    assert_eq!(pool.submit(left, ()).join(), Ok(0));
}

#[test]
fn the_handle_of_a_dead_manager_leaves_the_socket_of_its_successor_alone() {
    in_tests();
    let path = std::env::temp_dir().join(format!("brigade-successor-{}", process::id()));
    let address = path.to_str().expect("a path of text");
    let former = Manager::builder().address(address).key("k").start().expect("a manager");
    kill("KILL", former.pid());
    while former.list::<u8>().is_ok() {}
    let successor = Manager::builder().address(address).key("k").start().expect("the former is dead");
    drop(former);
    assert!(Manager::connect(address, b"k").is_ok(), "it is there");
    drop(successor);
    assert!(!path.exists());
}

#[test]
fn a_host_and_a_port_are_refused_and_no_file_of_that_name_is_made() {
    in_tests();
    for address in ["127.0.0.1:0", "localhost:50000", "[::1]:8080", ":80"] {
        let told = Manager::builder().address(address).start().expect_err("not served").to_string();
        let words = format!("manager at {address} cannot be started: that is a host and a port");
        assert!(told.starts_with(&words) && told.lines().count() == 1, "{told}");
        let told = Manager::connect(address, b"k").expect_err("nor asked").to_string();
        assert!(told.contains("that is a host and a port"), "{told}");
        assert!(!Path::new(address).exists());
    }
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("a:80");
    assert!(Manager::builder().address(path.to_str().expect("text")).start().is_ok(), "a path all the same");
}

/// Starts a manager there, while somebody takes its socket away: what becomes of it if nobody has met it before.
fn robbed(path: &Path) -> Option<ManagerError> {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| while fs::remove_file(path).is_err() && !is_over.load(Ordering::Relaxed) {});
        let started = Manager::builder().address(path.to_str().expect("a path of text")).start();
        is_over.store(true, Ordering::Relaxed);
        started.err()
    })
}

#[test]
fn a_manager_that_cannot_be_reached_is_an_error_and_ends() {
    in_tests();
    let path = std::env::temp_dir().join(format!("brigade-robbed-{}", process::id()));
    let error =
        (0..100).find_map(|_| robbed(&path)).expect("the robber is there first, now and then").to_string();
    assert!(error.contains("cannot be reached") && error.lines().count() == 1, "{error}");
    assert!(!path.exists());
}

#[test]
fn strangers_who_say_nothing_or_nonsense_hold_nobody_up() {
    let manager = manager();
    let name = manager.address().strip_prefix('@').expect("no file").to_owned();
    let address = SocketAddr::from_abstract_name(name).unwrap();
    let silent: Vec<UnixStream> = (0..20).map(|_| UnixStream::connect_addr(&address).unwrap()).collect();
    for _ in 0..20 {
        let mut stranger = UnixStream::connect_addr(&address).unwrap();
        stranger.write_all(&[0x5a; 64]).unwrap();
        let mut heard = Vec::new();
        // It is hung up on.
        let _ = stranger.read_to_end(&mut heard);
        assert_eq!(heard.len(), 40, "a greeting, and no more");
    }
    let list = manager.list::<u32>().unwrap();
    list.append(&1).unwrap();
    assert_eq!(list.len().unwrap(), 1);
    drop(silent);
}

#[test]
fn proxies_are_data_that_a_manager_keeps_and_locks_are_not() {
    let (manager, pool) = (manager(), tireless(1, StartMethod::Fork));
    let (outer, inner) = (manager.list::<ListProxy<u32>>().unwrap(), manager.list::<u32>().unwrap());
    outer.append(&inner).unwrap();
    let append =
        |outer: ListProxy<ListProxy<u32>>| outer.get(0).unwrap().expect("it is there").append(&8).unwrap();
    pool.submit(append, outer).join().unwrap();
    assert_eq!(inner.to_vec().unwrap(), [8]);
    let error = manager.list().unwrap().append(&Lock::new().unwrap()).expect_err("it needs a process");
    assert!(matches!(&error, ManagerError::Encode { .. }), "{error}");
    let made =
        pool.submit(|client: ManagerClient| client.value(&7_u8).unwrap(), manager.client()).join().unwrap();
    assert_eq!(made.get().unwrap(), 7, "workers make objects, too");
}

#[test]
fn a_manager_ends_with_its_handle() {
    let manager = manager();
    let (pid, list) = (manager.pid(), manager.list::<u8>().unwrap());
    manager.shutdown();
    assert!(list.len().is_err() && !fs::exists(format!("/proc/{pid}")).unwrap());
}

#[test]
fn a_stopped_manager_is_an_error_after_the_time_that_it_was_given_and_no_longer_when_it_goes_on() {
    in_tests();
    let manager = Manager::builder().timeout(Duration::from_millis(100)).start().expect("a manager");
    let list = manager.list::<u32>().unwrap();
    list.append(&1).unwrap();
    kill("STOP", manager.pid());
    eventually("a stopped manager", || (state(manager.pid()) == Some('T')).then_some(()));
    let began = Instant::now();
    // The first asks on a connection that was there, the others cannot even make one.
    let told = [list.append(&2), list.len().map(drop), manager.list::<u32>().map(drop)];
    for told in told {
        let error = told.expect_err("it is stopped");
        assert!(matches!(error, ManagerError::TimedOut { .. }), "{error}");
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    kill("CONT", manager.pid());
    let late = manager.with_timeout(Duration::from_secs(60)).list_named::<u32>("late").unwrap();
    late.append(&3).unwrap();
    let all = eventually("an answer in time", || list.to_vec().ok());
    assert_eq!(
        (all, late.len().unwrap()),
        (vec![1, 2], 1),
        "what was asked for in vain is done all the same"
    );
}

#[test]
fn each_step_to_a_manager_fails_in_words_of_its_own() {
    let manager = manager();
    let marks = Marks::new();
    marks.put("file");
    let connect = |address: &str| Manager::connect(address, b"key").expect_err("no manager is there");
    let told = connect(&marks.path("nothing"));
    assert!(matches!(told, ManagerError::Gone { .. }), "{told}");
    // It says nothing of the manager, and so neither that it has ended nor that its key is another one.
    let told = connect(&format!("{}/manager", marks.path("file")));
    assert!(
        matches!(told, ManagerError::Unreachable { .. }) && !told.to_string().contains("ended"),
        "{told}"
    );
    let socket = marks.path("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    let stranger = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(&[b'x'; 40]).unwrap();
        // Until it is hung up on.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let told = connect(&socket);
    assert!(
        matches!(&told, ManagerError::Strange { message, .. } if message.contains("no manager")),
        "{told}"
    );
    stranger.join().unwrap();
    let told = Manager::connect(manager.address(), b"key").expect_err("it is another");
    assert!(matches!(told, ManagerError::Denied { .. }), "{told}");
}
