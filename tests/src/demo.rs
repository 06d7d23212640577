//! The demo: what NSP does, as a story of eight steps in network namespaces made for it.
//!
//! Every line with a mark has been verified when it is printed; the first that is not so ends the
//! story with its sentence and exit code 1. Nothing of the machine itself is touched, and whatever
//! was made goes by `Drop`: at the end, on a failure, and on Ctrl-C.

mod attempt;
mod failure;
mod office;
mod policy;
mod scene;
mod screen;
mod session;
mod stage;
mod steps;
mod stop;
mod table;

use std::{env, fs, panic, path::PathBuf, process::ExitCode, thread, time::Instant};

use self::{
    failure::Failure,
    screen::{Colour, Screen},
    steps::Play,
};
use crate::{netns::MARK, privilege};

/// Whether the story goes on.
type Told = Result<(), Failure>;

/// What a shell says of a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// Tells the story; the process exits with what comes back.
pub fn main() -> ExitCode {
    let missing = privilege::probe().missing;
    if !missing.is_empty() {
        eprintln!(
            "demo: this needs root, and here is: {}\ntry: cargo xtask demo",
            missing.join(", ")
        );
        return ExitCode::from(3);
    }
    if let Err(error) = stop::watch() {
        eprintln!("demo: cannot wait for signals: {error}");
        return ExitCode::FAILURE;
    }
    quieten_panics();
    let screen = Screen::new();
    // The name becomes part of the names of the namespaces.
    let story = thread::Builder::new().name("demo".to_owned()).spawn(move || tell(screen));
    let told = match story.map(thread::JoinHandle::join) {
        Ok(Ok(told)) => told,
        // Panics of the tools have said what is wrong.
        Ok(Err(_)) if !stop::asked() => Err(Failure::Broken("the demo could not go on".to_owned())),
        Ok(Err(_)) => Err(Failure::Stopped),
        Err(error) => Err(Failure::Broken(format!("no thread: {error}"))),
    };
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("\ndemo: {failure}; what it had made is removed");
            ExitCode::from(if failure == Failure::Stopped { INTERRUPTED } else { 1 })
        }
    }
}

fn tell(screen: Screen) -> Told {
    let begun = Instant::now();
    screen.line(&screen.paint(Colour::Bold, "NSP: a network security perimeter for a Linux host"));
    screen.say(
        "A server 192.0.2.1, an office 203.0.113.5, a stranger 198.51.100.7, a private client\n\
         10.0.0.9 and a member 192.0.2.10, all with IPv6 too: network namespaces of this machine,\n\
         nothing else of which is touched. ✓ is what has been verified.",
    );
    let mut play = Play::set(screen)?;
    play.run()?;
    drop(play);
    screen.line("");
    screen.line(&screen.paint(Colour::Bold, "On your own host"));
    screen.output([
        "nsp init -o policy.toml                look at the host, write a first policy",
        "nsp check policy.toml                  what it says, what is odd",
        "nsp run --policy policy.toml           judge, log, drop nothing",
        "nsp logs -f                            who would be denied, and why",
        "nsp mode RESOURCE enforced             or access_mode = \"enforced\" and nsp apply --confirm 2m",
        "nsp off                                nothing is judged, until nsp on",
    ]);
    screen.line("");
    let left = leftovers();
    screen.claim(left.is_empty(), &format!("everything that was made is removed{left}"))?;
    let seconds = begun.elapsed().as_secs_f64();
    screen.line(&screen.paint(Colour::Bold, &format!("Every claim held, in {seconds:.0} s.")));
    Ok(())
}

/// What is still there of this run, as the end of a sentence; empty when all is gone.
fn leftovers() -> String {
    let ours = format!("{MARK}{}-", std::process::id());
    let places = [PathBuf::from("/run/netns"), env::temp_dir()];
    let entries = places.iter().flat_map(fs::read_dir).flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(&ours)).map(|name| format!(", but not {name}")).collect()
}

/// After Ctrl-C everything falls over somewhere, and says nothing that anybody needs.
fn quieten_panics() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |about| {
        if !stop::asked() {
            usual(about);
        }
    }));
}
