//! Messages that were right once.

use std::env;

use nsp_tests::messages::{
    compare::{Reading, answer},
    mutation::{Dice, answers, mutate},
};

#[test]
fn mutated_messages_teach_what_another_reader_says() {
    let rounds = if env::var_os("NSP_TEST_FULL").is_some() { 1_000_000 } else { 100_000 };
    let genuine = answers();
    let mut dice = Dice::new(0x6e73_7021);
    let (mut agreed, mut taught, mut stricter) = (0, 0, 0);
    for _ in 0..rounds {
        let mut message = genuine[dice.throw(genuine.len())].clone();
        mutate(&mut message, &mut dice);
        match answer(&message) {
            Reading::Alike(lesson) => {
                agreed += 1;
                taught += lesson.addresses.len();
            }
            Reading::OursAlone(_) => stricter += 1,
            Reading::Refused => {}
        }
    }
    println!(
        "{agreed} of {rounds} read alike, {taught} addresses; the other refused {stricter} more"
    );
    assert!(agreed > rounds / 10 && taught > rounds / 10);
}
