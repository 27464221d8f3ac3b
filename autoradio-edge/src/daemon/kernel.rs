//! The kernel program's life: started as the operator wants it, told what holds for answers, taken off at the end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use autoradio_common::cookie::CookieKeys;
use tracing::{error, info, warn};

use crate::config::{Config, DnsSelect};
use crate::dataplane::{DataplaneError, Hold, Kernel, KernelPolicy, Pins, XdpChoice};

/// The kernel program, shared by what publishes, what renews and what counts.
pub(super) type SharedKernel = Option<Arc<Mutex<Kernel>>>;

/// The kernel program, whoever panicked while holding it: its maps are in the kernel and whole.
pub(super) fn lock(kernel: &Mutex<Kernel>) -> MutexGuard<'_, Kernel> {
    kernel.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Loads and attaches the kernel program as the operator wants it; `auto` goes on without one where there is none.
pub(super) fn start(config: &Config) -> Result<SharedKernel, DataplaneError> {
    let wanted = config.xdp != XdpChoice::Off && !config.kernel_addresses.is_empty();
    let Some(interface) = config.interface.as_deref().filter(|_| wanted) else {
        info!("no kernel program: userspace answers all of DNS");
        clear(config);
        return Ok(None);
    };
    match attached(config, interface) {
        Ok(kernel) => {
            let (mode, Hold { pinned, adopted }) = (kernel.mode(), kernel.hold());
            info!(interface, %mode, pinned, adopted, "the kernel program is attached");
            Ok(Some(Arc::new(Mutex::new(kernel))))
        }
        Err(error @ DataplaneError::NoInterface { .. }) => Err(error),
        Err(error) if config.xdp == XdpChoice::Auto => {
            warn!(%error, "no kernel program: userspace answers all of DNS");
            clear(config);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn attached(config: &Config, interface: &str) -> Result<Kernel, DataplaneError> {
    let addresses = &config.kernel_addresses;
    let pinned = Pins::take(&config.bpf_dir, config.name.as_str())
        .and_then(|pins| Kernel::load_pinned(addresses, pins));
    let mut kernel = match pinned {
        Err(error @ DataplaneError::Unpinned { .. }) => {
            warn!(%error, "going on unpinned");
            clear(config);
            Kernel::load(addresses)?
        }
        pinned => pinned?,
    };
    let sticky = config.dns_select == DnsSelect::Sticky;
    kernel.set_policy(&KernelPolicy { sticky, rate: config.dns_rate })?;
    if let Err(error) = kernel.attach(interface, config.xdp) {
        end(&mut kernel, Kernel::leave);
        return Err(error);
    }
    Ok(kernel)
}

/// Takes off what a killed daemon left: its zone grows old, while userspace answers by the newest.
fn clear(config: &Config) {
    match Pins::clear(&config.bpf_dir, config.name.as_str()) {
        Ok(true) => info!("what a killed daemon left of its kernel program is removed"),
        // Nothing can be pinned there, or it is another daemon's.
        Ok(false) | Err(DataplaneError::Taken { .. }) => {}
        Err(error) => {
            warn!(%error, "what a killed daemon left of its kernel program may still answer");
        }
    }
}

/// Tells the program the secrets of cookies.
pub(super) fn set_cookies(kernel: &SharedKernel, keys: CookieKeys) {
    let Some(kernel) = kernel else { return };
    if let Err(error) = lock(kernel).set_cookies(keys) {
        error!(%error, "the kernel program lacks the newest secrets of cookies");
    }
}

/// Takes the program off the interface; after a failure, not the one of a killed daemon that it was to replace.
pub(super) fn stop(kernel: &SharedKernel, failed: bool) {
    let Some(kernel) = kernel else { return };
    end(&mut lock(kernel), if failed { Kernel::leave } else { Kernel::detach });
}

fn end(kernel: &mut Kernel, how: fn(&mut Kernel) -> Result<(), DataplaneError>) {
    if let Err(error) = how(kernel) {
        warn!(%error, "something of the kernel program is left");
    }
}
