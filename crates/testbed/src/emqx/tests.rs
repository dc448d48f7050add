//! With a stand-in that does nothing of EMQX's but listen where its
//! configuration says.

use std::process::Stdio;

use super::*;

/// Reads the ports out of the emqx.conf beside it, listens on them, says that
/// it runs, and notes how it ended. Its own environment must hold no setting.
const STAND_IN: &str = r#"#!/bin/sh
root=$(cd "$(dirname "$0")/.." && pwd)
env | grep -q ^EMQX_ && { echo "a setting in the environment"; exit 65; }
[ "$1" = foreground ] || exit 64
[ -f "$root/lib/kept" ] || exit 66
echo mine > "$root/data/mine"
exec python3 -c '
import re, signal, socket, sys
root = sys.argv[1]
conf = open(root + "/etc/emqx.conf").read()
held = []
for port in re.findall(r"127.0.0.1:(\d+)", conf):
    held.append(socket.create_server(("127.0.0.1", int(port))))
def end(*_):
    open(root + "/ended", "a").write("ended\n")
    sys.exit()
signal.signal(signal.SIGTERM, end)
print("EMQX 5.8.9 is running now!", flush=True)
signal.pause()
' "$root"
"#;

fn release() -> TempDir {
    let home = tempfile::tempdir().unwrap();
    for folder in ["bin", "etc", "lib", "releases", "log", "data"] {
        std::fs::create_dir(home.path().join(folder)).unwrap();
    }
    let write = |name: &str, text: &str| std::fs::write(home.path().join(name), text).unwrap();
    write("bin/emqx", STAND_IN);
    write("etc/emqx.conf", "the release's own");
    write("lib/kept", "");
    write(
        "releases/emqx_vars",
        "EMQX_ETC_DIR=\"$RUNNER_ROOT_DIR/etc\"\n",
    );
    let script = home.path().join("bin/emqx");
    std::fs::set_permissions(script, Permissions::from_mode(0o755)).unwrap();
    home
}

fn rendered(emqx: &Emqx) {
    let ports = [emqx.tls_port(), emqx.plain_port(), emqx.api_port()];
    let conf: String = ports.map(|it| format!("bind = 127.0.0.1:{it}\n")).concat();
    std::fs::write(emqx.etc().join("emqx.conf"), conf).unwrap();
}

#[test]
fn a_release_runs_in_a_tree_of_its_own_and_ends() {
    let home = release();
    let emqx = Emqx::prepare(Source::Release(home.path().to_owned())).unwrap();
    assert!(emqx.etc().join("server.key").exists());
    let error = emqx.run().unwrap_err().to_string();
    assert!(error.contains("no emqx.conf was rendered"), "{error}");
    rendered(&emqx);
    emqx.run().unwrap();
    emqx.stop().unwrap();
    emqx.run().unwrap();
    assert!(emqx.stop().is_ok() && emqx.stop().is_err());
    let ended = std::fs::read_to_string(emqx.path("root/ended")).unwrap();
    assert_eq!(ended, "ended\nended\n");
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, emqx.plain_port())).is_err());
    // The release itself is as it was.
    let own = std::fs::read_to_string(home.path().join("etc/emqx.conf")).unwrap();
    assert_eq!(own, "the release's own");
    assert_eq!(
        std::fs::read_dir(home.path().join("data")).unwrap().count(),
        0
    );
    assert!(emqx.path("root/data/mine").exists());
    let folder = emqx.folder.path().to_owned();
    drop(emqx);
    assert!(!folder.exists());
}

#[test]
fn nothing_in_the_environment_becomes_a_setting() {
    let home = release();
    let script = home.path().join("bin/emqx");
    let with = |command: &[OsString]| {
        let mut probe = Command::new(&command[0]);
        let probe = probe.args(&command[1..]).arg(&script).arg("console");
        let probe = probe.env("EMQX_HOME", "/x").env("EMQX_NODE__NAME", "x");
        probe.stdin(Stdio::null()).output().unwrap().status.code()
    };
    // The stand-in looks at its environment first.
    assert_eq!(with(&["env".into()]), Some(65));
    let names = ["EMQX_HOME", "HOME", "EMQX_NODE__NAME"].map(OsString::from);
    assert_eq!(with(&without_settings(names.into_iter())), Some(64));
}

#[test]
fn a_container_is_ours_by_name_and_reads_what_was_rendered() {
    // `true` takes any arguments, as an engine would.
    let emqx = Emqx::prepare(Source::Engine("true".to_owned())).unwrap();
    rendered(&emqx);
    assert_eq!(emqx.etc_dir(), "/opt/emqx/etc/dormouse");
    let command = emqx.container_command("true").unwrap();
    let words: Vec<_> = command.iter().map(|it| it.to_str().unwrap()).collect();
    let etc = emqx.etc().display().to_string();
    assert_eq!(words[..3], ["true", "run", "--rm"]);
    assert_eq!(words.last(), Some(&IMAGE));
    assert!(words.contains(&emqx.container().as_str()));
    assert!(words.contains(&format!("{etc}:/opt/emqx/etc/dormouse:ro").as_str()));
    assert!(words.contains(&format!("{etc}/emqx.conf:/opt/emqx/etc/emqx.conf:ro").as_str()));
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&emqx.etc().join("server.key")), 0o644);
    assert_eq!(mode(emqx.folder.path()), 0o755);
}
