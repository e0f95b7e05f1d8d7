//! What a live run is asked by signals: to show what it does, and to open its logs anew.

use crate::stage::{Stage, eventually, kill};
use serde_json::Value;
use std::fs::{self, File};
use std::path::Path;

#[test]
fn sigusr2_shows_in_one_line_what_each_worker_does_in_both_formats() {
    for format in ["human", "json"] {
        let stage = Stage::new();
        let said = stage.dir().join("said");
        let args = format!("--procs 2 --pace 300ms --range 0..100 --tasks 100 --format {format} -q");
        let mut command = stage.command(&args);
        command.stdout(std::process::Stdio::null()).stderr(File::create(&said).expect("a file"));
        let mut child = command.spawn().expect("the supervisor starts");
        eventually("both workers are at work", || {
            let status = fs::read(stage.dir().join("s/latest/status.json")).ok()?;
            let status: Value = serde_json::from_slice(&status).ok()?;
            let slots = status["slots"].as_array()?;
            slots.iter().all(|slot| slot["task"].is_object()).then_some(())
        });
        kill("USR2", child.id().into());
        let text = eventually("everybody is shown", || {
            let text = fs::read_to_string(&said).ok()?;
            (text.lines().count() >= 3).then_some(text)
        });
        assert!(text.contains(&format!("supervisor {} · running", child.id())), "{format}: {text}");
        for worker in 0..2 {
            let line = text.lines().find(|line| line.contains(&format!("worker {worker} pid ")));
            let line = line.unwrap_or_else(|| panic!("{format}: {text}"));
            assert!(line.contains(" · ready · ") && line.ends_with(" done"), "{line}");
        }
        assert!(text.contains("(attempt 1) for "), "{format}: {text}");
        kill("INT", child.id().into());
        assert_eq!(child.wait().expect("our child").code(), Some(130), "{format}: it went on until Ctrl-C");
    }
}

fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(ToString::to_string).collect()
}

#[test]
fn after_a_rename_sigusr1_lets_everybody_go_on_in_fresh_logs_and_no_line_is_lost() {
    for method in ["fork", "spawn"] {
        let stage = Stage::new().with(&format!("--procs 2 --start-method {method}"));
        let mut run = stage.with("--pace 5ms --range 0..1_000 --tasks 400").start();
        let workers = run.wait_ready(2);
        let home = run.stage.dir().join("s/latest");
        let mut files = vec![home.join("events.ndjson")];
        files.extend(workers.iter().map(|pid| home.join(format!("logs/{pid}.log"))));
        let old = |path: &Path| path.with_extension("old");
        eventually("there is something in each", || {
            files.iter().all(|path| lines(path).len() > 3).then_some(())
        });
        files.iter().for_each(|path| fs::rename(path, old(path)).expect("a log"));
        kill("USR1", run.pid());
        eventually("there is something in each of the fresh ones", || {
            files.iter().all(|path| lines(path).len() > 3).then_some(())
        });
        let (finished, _run) = run.finish();
        finished.assert_exact(1_000);
        assert_eq!(
            (finished.done()["restarts"].as_u64(), finished.count("warning")),
            (Some(0), 0),
            "{method}"
        );
        let told = [lines(&old(&files[0])), lines(&files[0])].concat();
        assert_eq!(told.len(), finished.story.len(), "{method}: the events are all there");
        let mut ended = 0;
        for log in &files[1..] {
            assert!(
                lines(log)[0].contains(" worker slot "),
                "a fresh log says whose it is: {:?}",
                lines(log)[0]
            );
            let all = [lines(&old(log)), lines(log)].concat();
            ended += all.iter().filter(|line| line.contains(" end task ")).count();
        }
        assert_eq!(ended, 400, "{method}: every task has its end");
    }
}

#[test]
fn sigusr1_without_a_rename_changes_nothing() {
    let mut run = Stage::new().with("--procs 2 --pace 5ms --range 0..1_000 --tasks 100").start();
    let workers = run.wait_ready(2);
    for _ in 0..10 {
        kill("USR1", run.pid());
        kill("USR1", workers[0]);
    }
    let (finished, run) = run.finish();
    finished.assert_exact(1_000);
    assert_eq!(finished.done()["restarts"], 0, "nobody died of it");
    for worker in workers {
        assert_eq!(run.log(worker).matches(" worker slot ").count(), 1, "{}", run.log(worker));
    }
}
