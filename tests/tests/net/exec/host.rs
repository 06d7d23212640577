//! Sessions of `nsp exec` and the host around them: other users, other policies, other networks.

use std::{fs, os::unix::fs::PermissionsExt as _, os::unix::fs::chown};

use nsp_tests::{
    agent::nsp_binary,
    packet::{Family, Party},
    sockets::still_echoes,
};

use super::stage::{ALLOWED, HTTP, Stage, With};
use crate::{cgroup::Cgroup, seen, service};

/// Nobody, and nobody's group.
const NOBODY: u32 = 65534;
const AS_NOBODY: [&str; 5] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];

/// The office, and nobody else, on 8080: of the host itself.
const ENFORCED: &str = r#"
    [perimeter]
    name = "payments"
    [profile.own.outbound.office]
    address_prefixes = ["203.0.113.0/24"]
    ports = ["8080/tcp"]
    [resource.host]
    host = true
    profile = "own"
    access_mode = "enforced"
"#;

#[test]
fn user_of_the_sockets_group_shuts_itself_in_and_others_do_not() {
    let stage = Stage::new(With::Agent);
    let script = stage.script(&format!(
        "id -u > who; probe -4 {ALLOWED} {HTTP} allowed; probe {} {HTTP} stranger\n",
        Party::Stranger.v4()
    ));
    let run = || {
        let server = stage.host(Party::Server);
        stage.start(server, &AS_NOBODY, &["--allow", ALLOWED], &script).finish()
    };
    let control = stage.agent.borrow().as_ref().expect("it runs").home().control();
    let home = control.parent().expect("a directory");
    fs::set_permissions(home, fs::Permissions::from_mode(0o755)).expect("ours");
    // The summary is a file of root's until it is written anew.
    let refused = run();
    assert_eq!(refused.code(), Some(3), "{refused}");
    assert!(refused.stderr.contains("\ntry: "), "{refused}");
    chown(&control, None, Some(NOBODY)).expect("root may");
    let ran = run();
    assert_eq!(ran.code(), Some(0), "{ran}");
    assert_eq!(fs::read_to_string(stage.path("who")).expect("it ran").trim(), NOBODY.to_string());
    assert_eq!(stage.attempt("allowed").errno, 0, "{ran}");
    assert_eq!(stage.attempt("stranger").errno, 1, "{ran}");
    assert_eq!(ran.blocked().len(), 1, "{ran}");
    assert!(stage.nothing_is_left());
}

/// A session takes the place of what held its caller before, so who is held may not have one.
#[test]
fn session_is_no_way_out_of_a_session_or_of_an_enforced_host() {
    let stage = Stage::new(With::Agent);
    let control = stage.agent.borrow().as_ref().expect("it runs").home().control();
    let home = control.parent().expect("a directory").to_owned();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o755)).expect("ours");
    chown(&control, None, Some(NOBODY)).expect("root may");
    let nested = stage.script(&format!(
        "{} exec --control {} --allow {} -- true 2> nested; echo $? > code\n",
        nsp_binary().display(),
        control.display(),
        Party::Stranger.v4(),
    ));
    let server = stage.host(Party::Server);
    let ran = stage.start(server, &[], &["--allow", ALLOWED], &nested).finish();
    let said = fs::read_to_string(stage.path("nested")).expect("it ran");
    assert_eq!(fs::read_to_string(stage.path("code")).expect("it ran").trim(), "1", "{ran} {said}");
    assert!(said.contains("in a session already"), "{said}");
    {
        let agent = stage.agent.borrow();
        let agent = agent.as_ref().expect("it runs");
        agent.write_policy(ENFORCED);
        agent.nsp_ok(&["apply"]);
    }
    let script = stage.script("echo ran > ran");
    // The summary is root's until now.
    fs::remove_file(stage.path("summary.json")).expect("it was written");
    let ran = stage.start(server, &AS_NOBODY, &["--allow", ALLOWED], &script).finish();
    assert_eq!(ran.code(), Some(1), "{ran}");
    assert!(ran.stderr.contains("enforced outbound"), "{ran}");
    assert!(!stage.path("ran").exists());
}

/// What an operator opens for the host for a time is not opened for a command that was shut in.
#[test]
fn what_is_allowed_for_a_time_is_not_for_a_session_and_what_is_blocked_is() {
    let stage = Stage::new(With::Agent);
    let _stranger = service::tcp(stage.host(Party::Stranger), HTTP);
    let stranger = Party::Stranger.v4().to_string();
    let agent = stage.agent.borrow();
    let agent = agent.as_ref().expect("it runs");
    agent.nsp_ok(&["allow", &stranger, "--outbound", "--for", "1h"]);
    let script = stage
        .script(&format!("probe -4 {ALLOWED} {HTTP} allowed; probe {stranger} {HTTP} stranger\n"));
    let run = || {
        let server = stage.host(Party::Server);
        stage.start(server, &[], &["--allow", ALLOWED], &script).finish()
    };
    let ran = run();
    assert_eq!(stage.attempt("allowed").errno, 0, "{ran}");
    assert_eq!(stage.attempt("stranger").errno, 1, "{ran}");
    agent.nsp_ok(&["block", ALLOWED, "--for", "1h"]);
    let ran = run();
    assert_eq!(stage.attempt("allowed").errno, 1, "{ran}");
}

#[test]
fn user_without_an_agent_is_told_what_to_do() {
    let stage = Stage::new(With::Nothing);
    let script = stage.script("echo ran > ran");
    let ran = stage.start(stage.host(Party::Server), &AS_NOBODY, &[], &script).finish();
    assert_eq!(ran.code(), Some(3), "{ran}");
    assert!(ran.stderr.contains("\ntry: sudo nsp exec"), "{ran}");
    assert!(!stage.path("ran").exists());
}

/// A user's process in a session cannot be moved to where that user may move processes.
#[test]
fn user_with_a_subtree_of_its_own_does_not_get_out_by_it() {
    let stage = Stage::new(With::Agent);
    let _stranger = service::tcp(stage.host(Party::Stranger), HTTP);
    let control = stage.agent.borrow().as_ref().expect("it runs").home().control();
    let home = control.parent().expect("a directory");
    fs::set_permissions(home, fs::Permissions::from_mode(0o755)).expect("ours");
    chown(&control, None, Some(NOBODY)).expect("root may");
    let own = Cgroup::new("delegated");
    let procs = own.path().join("cgroup.procs");
    chown(own.path(), Some(NOBODY), None).expect("root may");
    chown(&procs, Some(NOBODY), None).expect("root may");
    let procs = procs.display();
    let enter = format!("echo $$ > {procs}; exec \"$0\" \"$@\"");
    let through: Vec<&str> = ["bash", "-c", &enter].into_iter().chain(AS_NOBODY).collect();
    let script = stage.script(&format!(
        "(echo $BASHPID > {procs}) 2> why || echo no > inside\n\
         probe {} {HTTP} stranger\n",
        Party::Stranger.v4()
    ));
    let ran = stage.start(stage.host(Party::Server), &through, &[], &script).finish();
    assert_eq!(ran.code(), Some(0), "{ran}");
    assert!(stage.path("inside").exists(), "{ran}");
    assert_eq!(stage.attempt("stranger").errno, 1, "{ran}");
    assert!(stage.nothing_is_left());
}

#[test]
fn session_outlives_apply_mode_and_a_broken_policy_and_others_keep_their_connections() {
    let stage = Stage::with_policy(With::Agent, ENFORCED);
    let _office = service::tcp(stage.host(Party::Office), 8080);
    let _stranger = service::tcp(stage.host(Party::Stranger), HTTP);
    let to = std::net::SocketAddr::new(Party::Office.v4().into(), 8080);
    let from = std::net::SocketAddr::new(Party::Server.v4().into(), 0);
    let server = stage.host(Party::Server);
    let own = nsp_tests::sockets::tcp_open(server, from, to, service::PATIENCE)
        .unwrap_or_else(|met| panic!("the host's own: {met:?}"));
    let script = stage.script(&format!(
        "echo yes > ready; until [ -e go ]; do sleep 0.02; done\n\
         probe -4 {ALLOWED} {HTTP} allowed; probe {} {HTTP} stranger; probe {} 8080 office\n",
        Party::Stranger.v4(),
        Party::Office.v4(),
    ));
    let flags = ["--allow", "index.example.com:80/tcp"];
    let running = stage.start(server, &[], &flags, &script);
    running.wait_for("ready");
    assert!(still_echoes(&own), "a session that begins takes nothing from others");
    {
        let agent = stage.agent.borrow();
        let agent = agent.as_ref().expect("it runs");
        let status = seen::status(agent);
        assert_eq!(status["sessions"][0]["name"], "exec-1");
        assert_eq!(status["fileDiffers"], false, "{status:#}");
        agent.nsp_ok(&["apply"]);
        agent.nsp_ok(&["mode", "host", "transition"]);
        agent.nsp_ok(&["mode", "host", "enforced"]);
        agent.write_policy(&ENFORCED.replace("resource.host", "resource.exec-1"));
        let refused = agent.nsp(&["apply"]);
        assert_eq!(refused.status.code(), Some(1), "a session's name is taken");
        agent.write_policy("nonsense");
        assert_eq!(agent.nsp(&["apply"]).status.code(), Some(1));
        agent.write_policy(ENFORCED);
        agent.nsp_ok(&["apply"]);
        assert_eq!(agent.nsp(&["mode", "exec-1", "transition"]).status.code(), Some(1));
    }
    stage.write("go", "yes");
    let ran = running.finish();
    assert_eq!(ran.code(), Some(0), "{ran}");
    assert_eq!(stage.attempt("allowed").errno, 0, "{ran}");
    assert_eq!(stage.attempt("stranger").errno, 1, "{ran}");
    assert_eq!(stage.attempt("office").errno, 1, "the host's rules are not its own: {ran}");
    assert!(still_echoes(&own), "a session that ends takes nothing from others");
    assert!(stage.nothing_is_left());
}

#[test]
fn sessions_side_by_side_have_their_own_rules() {
    let stage = Stage::new(With::Agent);
    let server = stage.host(Party::Server);
    let _stranger = service::tcp(stage.host(Party::Stranger), HTTP);
    let office = Party::Office.address(Family::V4);
    let stranger = Party::Stranger.address(Family::V4);
    let script = |name: &str| {
        stage.script(&format!(
            "echo yes > {name}; until [ -e go ]; do sleep 0.02; done\n\
             probe {office} {HTTP} {name}-office; probe {stranger} {HTTP} {name}-stranger\n"
        ))
    };
    let one = stage.start(server, &[], &["--allow", "203.0.113.5:80/tcp"], &script("one"));
    one.wait_for("one");
    let two = stage.start(server, &[], &["--allow", "198.51.100.7"], &script("two"));
    two.wait_for("two");
    assert_eq!(stage.sessions(), 2);
    stage.write("go", "yes");
    assert_eq!((one.finish().code(), two.finish().code()), (Some(0), Some(0)));
    let errno = |name: &str| stage.attempt(name).errno;
    assert_eq!((errno("one-office"), errno("one-stranger")), (0, 1));
    assert_eq!((errno("two-office"), errno("two-stranger")), (1, 0));
    assert!(stage.nothing_is_left());
}

/// The agent does not judge that network: a session there would be a pretence.
#[test]
fn command_in_another_network_namespace_is_refused() {
    let stage = Stage::new(With::Agent);
    let script = stage.script("echo ran > ran");
    let ran = stage.start(stage.host(Party::Office), &[], &[], &script).finish();
    assert_eq!(ran.code(), Some(1), "{ran}");
    assert!(ran.stderr.contains("another network namespace"), "{ran}");
    assert!(!stage.path("ran").exists());
    assert!(stage.nothing_is_left());
}

#[test]
fn private_agent_beside_one_that_runs_is_the_callers_choice() {
    let stage = Stage::new(With::Agent);
    let _stranger = service::tcp(stage.host(Party::Stranger), HTTP);
    let script = stage.script(&format!(
        "probe -4 {ALLOWED} {HTTP} allowed; probe {} {HTTP} stranger\n",
        Party::Stranger.v4()
    ));
    let ran = stage.exec(&["--private", "--allow", ALLOWED], &script);
    assert_eq!(ran.code(), Some(0), "{ran}");
    assert_eq!(stage.sessions(), 0);
    assert_eq!((stage.attempt("allowed").errno, stage.attempt("stranger").errno), (0, 1));
    assert!(stage.nothing_is_left());
}
