//! libFuzzer around one function of `tcpstat_user::fuzzing`: the one that the variable `TCPSTAT_FUZZ_TARGET`
//! names. `cargo xtask fuzz` builds it with the feature `fuzzing`; without that it has nothing to do.

#![cfg_attr(feature = "fuzzing", no_main)]

#[cfg(feature = "fuzzing")]
mod target {
    use std::{env, process, sync::OnceLock};

    use tcpstat_user::fuzzing::{TARGETS, Target};

    const VARIABLE: &str = "TCPSTAT_FUZZ_TARGET";

    static CHOSEN: OnceLock<Target> = OnceLock::new();

    /// Takes the target that the environment names. If it names none, prints all names and ends the process.
    fn choose() {
        let wanted = env::var(VARIABLE).unwrap_or_default();
        let Some((_, target)) = TARGETS.iter().find(|(name, _)| *name == wanted) else {
            for (name, _) in TARGETS {
                println!("{name}");
            }
            process::exit(i32::from(!wanted.is_empty()));
        };
        CHOSEN.get_or_init(|| *target);
    }

    libfuzzer_sys::fuzz_target!(
        init: choose(),
        |bytes: &[u8]| {
            let target = CHOSEN.get().expect("libFuzzer initializes first");
            target(bytes);
        }
    );
}

#[cfg(not(feature = "fuzzing"))]
fn main() {
    println!("built without the feature fuzzing: run `cargo xtask fuzz`");
}
