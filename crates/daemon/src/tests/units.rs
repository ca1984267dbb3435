//! The units of the service: systemd has nothing to say against them.

use std::io::Write;
use std::process::Command;

const SERVICE: &str = include_str!("../../../../config/systemd/lockstepd.service");
const SOCKET: &str = include_str!("../../../../config/systemd/lockstepd.socket");

#[test]
fn systemd_verifies_the_units() {
    let known = Command::new("systemd-analyze").arg("--version").output();
    if !known.is_ok_and(|known| known.status.success()) {
        let line = "SKIPPED 1: systemd-analyze is not here: install systemd to have the units verified";
        writeln!(std::io::stderr(), "{line}").unwrap();
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    // The program need not be installed for its unit to be right.
    let program = std::env::current_exe().unwrap();
    let service = SERVICE.replace("/usr/bin/lockstepd", program.to_str().unwrap());
    assert_ne!(service, SERVICE);
    let said = verify(dir.path(), &service, SOCKET);
    assert_eq!(said, (true, String::new()));
    let (fine, said) = verify(dir.path(), &service.replace("Type=notify", "Type=notified"), SOCKET);
    assert!(!said.is_empty(), "{fine}: it would have said nothing of a fault either");
}

fn verify(dir: &std::path::Path, service: &str, socket: &str) -> (bool, String) {
    let paths = [dir.join("lockstepd.service"), dir.join("lockstepd.socket")];
    std::fs::write(&paths[0], service).unwrap();
    std::fs::write(&paths[1], socket).unwrap();
    let output = Command::new("systemd-analyze").arg("verify").args(&paths).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).trim().to_owned())
}

#[test]
fn exit_codes_that_a_restart_does_not_change_are_not_restarted() {
    let line = SERVICE.lines().find_map(|line| line.strip_prefix("RestartPreventExitStatus=")).unwrap();
    let codes: Vec<u8> = line.split(' ').map(|code| code.parse().unwrap()).collect();
    assert_eq!(codes, [crate::Exit::Usage, crate::Exit::Unreadable, crate::Exit::Held].map(crate::Exit::code));
}
