//! It builds where the store clients do not.

use std::process::Command;

#[test]
fn no_store_is_in_the_tree() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let tree = Command::new(cargo)
        .args(["tree", "--offline", "-p", "lockstep-wal-tools", "-e", "normal", "--prefix", "none"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let said = String::from_utf8(tree.stdout).unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    assert!(said.contains("lockstep-wal "), "{said}");
    for store in ["surrealdb", "qdrant", "lockstep-stores", "lockstep-engine", "lockstep-daemon"] {
        assert!(!said.contains(store), "{store} is in the tree:\n{said}");
    }
}
