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
            Kernel::load(addresses)?
        }
        pinned => pinned?,
    };
    let sticky = config.dns_select == DnsSelect::Sticky;
    kernel.set_policy(&KernelPolicy { sticky, rate: config.dns_rate })?;
    kernel.attach(interface, config.xdp)?;
    Ok(kernel)
}

/// Tells the program the secrets of cookies.
pub(super) fn set_cookies(kernel: &SharedKernel, keys: CookieKeys) {
    let Some(kernel) = kernel else { return };
    if let Err(error) = lock(kernel).set_cookies(keys) {
        error!(%error, "the kernel program lacks the newest secrets of cookies");
    }
}

/// Takes the program off the interface.
pub(super) fn stop(kernel: &SharedKernel) {
    let Some(kernel) = kernel else { return };
    if let Err(error) = lock(kernel).detach() {
        warn!(%error, "something of the kernel program is left");
    }
}
