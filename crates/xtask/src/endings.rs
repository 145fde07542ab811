//! What is left of a stage after its programs have ended.

use std::fs;
use std::path::Path;

use crate::stage::MARK;

/// Processes that carry the stage's mark, sockets, and temporary files, in words; empty when all is well.
pub(crate) fn left_behind(folder: &Path) -> Vec<String> {
    let temporary = fs::read_dir(folder.join("tmp")).into_iter().flatten().flatten();
    let temporary = temporary.map(|entry| format!("the temporary {}", entry.path().display()));
    let sockets = sockets_below(folder).into_iter();
    processes(folder).into_iter().chain(sockets).chain(temporary).collect()
}

/// Linux shows the environment of one's own processes; elsewhere there is nothing to look at.
fn processes(folder: &Path) -> Vec<String> {
    let mark = format!("{MARK}={}", folder.display()).into_bytes();
    let carries = |process: &fs::DirEntry| {
        let variables = fs::read(process.path().join("environ")).unwrap_or_default();
        variables.split(|byte| *byte == 0).any(|variable| variable == mark)
    };
    let marked = fs::read_dir("/proc").into_iter().flatten().flatten().filter(carries);
    marked
        .map(|process| {
            let command = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            format!("process {} ({})", process.file_name().to_string_lossy(), command.trim())
        })
        .collect()
}

fn sockets_below(folder: &Path) -> Vec<String> {
    #[cfg(unix)]
    fn is_socket(entry: &fs::DirEntry) -> bool {
        entry.file_type().is_ok_and(|kind| std::os::unix::fs::FileTypeExt::is_socket(&kind))
    }
    #[cfg(not(unix))]
    fn is_socket(_: &fs::DirEntry) -> bool {
        false
    }
    let entries: Vec<fs::DirEntry> = fs::read_dir(folder).into_iter().flatten().flatten().collect();
    let here =
        entries.iter().filter(|entry| is_socket(entry)).map(|entry| format!("the socket {}", entry.path().display()));
    let below = entries.iter().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    here.chain(below.flat_map(|entry| sockets_below(&entry.path()))).collect()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_of_the_stage_is_found_and_others_are_not() {
        let folder = std::env::temp_dir().join(format!("daypass-endings-{}", std::process::id()));
        let mut marked = Command::new("cat");
        marked.env(MARK, &folder).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = marked.spawn().expect("cat is everywhere");
        // It has become cat once it answers.
        std::io::Write::write_all(child.stdin.as_mut().expect("a pipe"), b"!").expect("cat reads");
        std::io::Read::read_exact(child.stdout.as_mut().expect("a pipe"), &mut [0]).expect("cat answers");
        let found = left_behind(&folder);
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
        assert_eq!(found, [format!("process {} (cat)", child.id())]);
        assert!(left_behind(&folder).is_empty(), "it has ended");
    }
}
