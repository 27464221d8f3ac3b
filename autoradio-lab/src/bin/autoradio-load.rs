//! Load for `cargo xtask bench stream`: see `autoradio_lab::load::program`.

fn main() -> std::io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    autoradio_lab::load::program::run(&words)
}
