//! Real jobs: cargo fetches a crate, pip downloads a wheel, from an allowed name and nowhere else.

use std::{fs, path::Path, process::Command};

use super::stage::{ALLOWED, Ran, Stage, TELEMETRY, With};
use nsp_tests::packet::Party;

use crate::service;

/// Runs in a directory, and must succeed.
fn tool(directory: &Path, program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).current_dir(directory).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

fn digest(file: &Path) -> String {
    let output = Command::new("sha256sum").arg(file).output().expect("coreutils");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().next().expect("a digest").to_owned()
}

/// A registry with one crate, as cargo reads it over HTTP.
fn registry(stage: &Stage) {
    let source = stage.path("tiny-1.0.0");
    fs::create_dir_all(source.join("src")).expect("ours");
    let manifest = "[package]\nname = \"tiny\"\nversion = \"1.0.0\"\nedition = \"2021\"\n";
    fs::write(source.join("Cargo.toml"), manifest).expect("ours");
    fs::write(source.join("src/lib.rs"), "").expect("ours");
    fs::create_dir_all(stage.path("www/index/ti/ny")).expect("ours");
    fs::create_dir_all(stage.path("www/dl")).expect("ours");
    let directory = stage.path("");
    tool(&directory, "tar", &["-czf", "www/dl/tiny-1.0.0.crate", "tiny-1.0.0"]);
    let sum = digest(&stage.path("www/dl/tiny-1.0.0.crate"));
    stage.write(
        "www/index/config.json",
        &format!("{{\"dl\": \"http://{ALLOWED}/dl/{{crate}}-{{version}}.crate\"}}"),
    );
    stage.write(
        "www/index/ti/ny/tiny",
        &format!(
            "{{\"name\":\"tiny\",\"vers\":\"1.0.0\",\"deps\":[],\"cksum\":\"{sum}\",\
             \"features\":{{}},\"yanked\":false}}\n"
        ),
    );
    fs::create_dir_all(stage.path("job/src")).expect("ours");
    fs::create_dir_all(stage.path("home")).expect("ours");
    stage.write("job/src/lib.rs", "");
    stage.write(
        "job/Cargo.toml",
        "[package]\nname = \"job\"\nversion = \"0.0.0\"\nedition = \"2021\"\n\
         [dependencies]\ntiny = { version = \"1\", registry = \"local\" }\n[workspace]\n",
    );
    stage.write(
        "home/config.toml",
        &format!("[registries.local]\nindex = \"sparse+http://{ALLOWED}/index/\"\n"),
    );
}

fn fetch(stage: &Stage, allow: &str) -> Ran {
    let cargo = env!("CARGO");
    stage.exec(
        &["--allow", allow],
        &stage.script(&format!(
            "export CARGO_HOME=$PWD/home CARGO_NET_RETRY=0; cd job; {cargo} fetch 2>&1\n"
        )),
    )
}

#[test]
fn cargo_fetches_from_an_allowed_name_and_no_other() {
    for with in [With::Agent, With::Nothing] {
        let stage = Stage::new(with);
        registry(&stage);
        let refused = fetch(&stage, TELEMETRY);
        assert_ne!(refused.code(), Some(0), "{refused}");
        let blocked = refused.blocked();
        assert!(blocked.iter().any(|it| it["process"] == "cargo"), "{refused}");
        let ran = fetch(&stage, "*.example.com:80/tcp");
        assert_eq!(ran.code(), Some(0), "{ran}");
        assert!(ran.stdout.contains("Downloaded tiny"), "{ran}");
        assert!(!ran.blocked().iter().any(|it| it["protocol"] == "tcp"), "{ran}");
    }
}

/// A wheel is an archive with three files of metadata.
const WHEEL: &str = r#"
import zipfile
with zipfile.ZipFile("www/simple/tiny/tiny-1.0.0-py3-none-any.whl", "w") as wheel:
    info = "tiny-1.0.0.dist-info/"
    wheel.writestr("tiny.py", "")
    wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0.0\n")
    wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr(info + "RECORD", "tiny.py,,\n")
"#;

#[test]
fn pip_downloads_from_an_allowed_name_while_telemetry_is_refused() {
    let stage = Stage::new(With::Agent);
    let stranger = service::tcp(stage.host(Party::Stranger), 443);
    fs::create_dir_all(stage.path("www/simple/tiny")).expect("ours");
    tool(&stage.path(""), "python3", &["-c", WHEEL]);
    stage.write(
        "www/simple/tiny/index.html",
        "<!DOCTYPE html><a href=\"tiny-1.0.0-py3-none-any.whl\">tiny-1.0.0-py3-none-any.whl</a>",
    );
    let script = format!(
        "python3 -m pip --isolated --disable-pip-version-check --no-cache-dir download \
         --no-deps --index-url http://{ALLOWED}/simple --trusted-host {ALLOWED} tiny || exit 3\n\
         probe {} 443 telemetry\n",
        Party::Stranger.v4(),
    );
    let ran = stage.exec(&["--allow", &format!("{ALLOWED}:80/tcp")], &stage.script(&script));
    assert_eq!(ran.code(), Some(0), "{ran}");
    assert!(stage.path("tiny-1.0.0-py3-none-any.whl").exists(), "{ran}");
    let attempt = stage.attempt("telemetry");
    assert_eq!(attempt.errno, 1, "{ran}");
    let blocked = ran.blocked();
    assert!(blocked.iter().any(|it| it["pid"] == attempt.pid), "{ran}");
    assert_eq!(stranger.served().arrivals, 0);
}
