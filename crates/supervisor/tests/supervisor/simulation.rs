//! Thousands of random lives.

use crate::world::World;

#[test]
fn random_lives_keep_the_promises() {
    let (mut crashes, mut answered, mut reloaded, mut rolled_back) = (0, 0, 0, 0);
    for seed in 0..2_000 {
        let mut world = World::new(seed);
        for _ in 0..250 {
            if world.dice.one_in(3) {
                world.meddle();
            }
            world.pass(500);
        }
        world.come_to_rest();
        crashes += world.crashes;
        answered += world.answered;
        reloaded += world.reloaded;
        rolled_back += world.rolled_back;
    }
    // The simulation is worth something only if it reaches these corners.
    assert!(crashes > 500, "{crashes} deaths of the shell");
    assert!(answered > 50_000, "{answered} replies");
    assert!(reloaded > 500, "{reloaded} lives retired");
    assert!(rolled_back > 500, "{rolled_back} reloads undone");
}
