//! DNS as the world sees it: names of all lengths, zones that change under load, garbage, and a real resolver.

mod garbage;
mod names;
mod resolver;
mod rig;
mod swaps;
