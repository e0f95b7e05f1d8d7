//! C19: the same tasks on two hosts, one of which is lost on the way. A host is this program once more, with a pool of its own
//! behind a socket; on another machine a remote shell would start it. What a lost host has not answered goes to the other one.

mod article;

use article::{range_sum, seconds, sized, timed};
use brigade::Pool;
use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, PoisonError};
use std::{env, thread};

/// Into how many parts the sum is split.
const TASKS: u64 = 20;

/// Says where it listens, and adds up the parts that it is told, until nobody is there to ask.
fn host() -> Result<(), Box<dyn Error>> {
    let pool = Pool::builder().procs(2).build()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    let (client, _) = listener.accept()?;
    let half = sized(100_000_000) / TASKS / 2;
    for line in BufReader::new(&client).lines() {
        let first = line?.parse::<u64>()? * 2 * half;
        let halves = [first..first + half, first + half..first + 2 * half];
        let sum = pool.map_reduce(range_sum, halves, 0, |sum, half| sum + half)?;
        (&client).write_all(format!("{sum}\n").as_bytes())?;
    }
    Ok(())
}

fn start_host() -> Result<(Child, TcpStream), Box<dyn Error>> {
    let mut host = Command::new(env::current_exe()?).arg("host").stdout(Stdio::piped()).spawn()?;
    let mut address = String::new();
    BufReader::new(host.stdout.take().ok_or("it was piped")?).read_line(&mut address)?;
    Ok((host, TcpStream::connect(address.trim())?))
}

fn ask(mut host: &TcpStream, task: u64) -> io::Result<u64> {
    host.write_all(format!("{task}\n").as_bytes())?;
    let mut answer = String::new();
    BufReader::new(host).read_line(&mut answer)?;
    // What a host that was killed has begun to say is no answer.
    let whole = answer.strip_suffix('\n').and_then(|number| number.parse().ok());
    whole.ok_or_else(|| io::ErrorKind::ConnectionReset.into())
}

/// Takes tasks for a host, until there are none or it is lost: then its task goes back.
fn work(host: TcpStream, tasks: &Mutex<Vec<u64>>, answers: Sender<u64>) -> Option<TcpStream> {
    let tasks = || tasks.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let Some(task) = tasks().pop() else { return Some(host) };
        match ask(&host, task) {
            Ok(sum) => drop(answers.send(sum)),
            Err(lost) => {
                println!("task {task} is tried again: {lost}");
                tasks().push(task);
                return None;
            }
        }
    }
}

/// Every task is answered once, as long as a host is left.
fn spread(mut hosts: Vec<TcpStream>, mut on_answer: impl FnMut(u64)) {
    let mut tasks = Mutex::new((0..TASKS).collect::<Vec<_>>());
    while tasks.get_mut().is_ok_and(|tasks| !tasks.is_empty()) {
        assert!(!hosts.is_empty(), "all hosts are lost");
        let tasks = &tasks;
        hosts = thread::scope(|scope| {
            let (answers, answered) = mpsc::channel();
            let mut working = Vec::new();
            for host in hosts {
                let answers = answers.clone();
                working.push(scope.spawn(|| work(host, tasks, answers)));
            }
            drop(answers);
            answered.into_iter().for_each(&mut on_answer);
            working.into_iter().filter_map(|host| host.join().expect("work does not panic")).collect()
        });
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    brigade::init();
    if env::args().nth(1).as_deref() == Some("host") {
        return host();
    }
    let ((mut victim, first), (mut survivor, second)) = (start_host()?, start_host()?);
    let mut sums = Vec::new();
    let ((), time) = timed(|| {
        spread(vec![first, second], |sum| {
            sums.push(sum);
            if sums.len() == 5 {
                victim.kill().expect("it is our child");
            }
        });
    });

    let (n, total) = (sized(100_000_000), sums.iter().sum::<u64>());
    println!("Result: {total}, by two hosts; the first {}", victim.wait()?);
    assert_eq!((sums.len() as u64, total), (TASKS, n * (n - 1) / 2));
    assert!(survivor.wait()?.success());
    seconds([time]);
    Ok(())
}
