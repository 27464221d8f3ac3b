//! Puts the program on an interface and takes it off, and takes over from the process before.
//!
//! The link is what holds a program there. Pinned, it outlives the process; updated, it exchanges one program for another
//! between two packets.

use std::time::Duration;

use aya::programs::xdp::{XdpLink, XdpMode as AttachMode};
use tracing::{info, warn};

use super::super::{DataplaneError, Hold, XdpChoice, XdpMode};
use super::error::attach_error;
use super::pins::{Pins, Place};
use super::{Kernel, OBJECT, program};

/// How often, and after which pause, a place is tried again that another program holds.
const TRIES: u32 = 50;
const RETRY_AFTER: Duration = Duration::from_millis(10);

/// Where the program is, and what holds it there.
#[derive(Default)]
pub(super) struct Attachment {
    interface: String,
    hold: Hold,
    pins: Option<Pins>,
    /// A new one, beside its pin if it has one. Those that were taken over are with the program.
    link: Option<XdpLink>,
    /// Where a program still runs on maps of its own, until this one has a zone, and in which mode.
    waiting: Option<(Place, XdpMode)>,
    /// A program of before answers still: this process has not given it, or its successor, a zone yet.
    unfed: bool,
}

impl Attachment {
    /// Nothing attached yet; what will be, is pinned there.
    pub(super) fn pinned_at(pins: Pins, adopts_maps: bool) -> Self {
        let hold = Hold { pinned: true, adopted: adopts_maps };
        Self { hold, pins: Some(pins), ..Self::default() }
    }
}

impl Kernel {
    /// Attaches the program to `interface`, or has it take the place of the one that a killed daemon left there: at once on
    /// the same maps, with its zone; on maps of its own as soon as [`publish`](Self::publish) has given it one. The result is
    /// the mode in use.
    pub fn attach(
        &mut self,
        interface: &str,
        choice: XdpChoice,
    ) -> Result<XdpMode, DataplaneError> {
        interface.clone_into(&mut self.attachment.interface);
        let modes: &[XdpMode] = match choice {
            XdpChoice::Off => &[],
            XdpChoice::Native => &[XdpMode::Native],
            XdpChoice::Generic => &[XdpMode::Generic],
            XdpChoice::Auto => &[XdpMode::Native, XdpMode::Generic],
        };
        for mode in modes {
            if self.take_over(*mode)? {
                self.mode = *mode;
                return Ok(*mode);
            }
        }
        self.attachment.hold.adopted = false;
        for mode in modes {
            match self.attach_new(*mode) {
                Ok(()) => {
                    self.mode = *mode;
                    break;
                }
                Err(DataplaneError::Attach { .. }) if modes.last() != Some(mode) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.mode)
    }

    /// Takes over the link that a killed daemon left in this place. False if there is none, or none that works.
    fn take_over(&mut self, mode: XdpMode) -> Result<bool, DataplaneError> {
        let Some(pins) = &self.attachment.pins else { return Ok(false) };
        let place = Place::of(&self.attachment.interface, mode)?;
        let is_there = pins.link(&place).is_some();
        self.attachment.unfed = is_there;
        if is_there && !self.attachment.hold.adopted {
            self.attachment.waiting = Some((place, mode));
        } else if is_there {
            self.attachment.unfed = self.take_link(&place)?;
        }
        Ok(self.attachment.unfed)
    }

    /// Has this program, which has a zone now, replace the one that runs. After an error the next call tries again.
    pub(super) fn replace_waiting(&mut self) -> Result<(), DataplaneError> {
        self.attachment.unfed = false;
        let Some((place, mode)) = self.attachment.waiting.clone() else { return Ok(()) };
        if self.take_link(&place)? {
            info!("the kernel program has replaced the one before");
        } else {
            self.mode = XdpMode::Off;
            self.attach_new(mode)?;
            self.mode = mode;
        }
        self.attachment.waiting = None;
        Ok(())
    }

    /// Exchanges the program that is attached in this place for this one. False if none is.
    fn take_link(&mut self, place: &Place) -> Result<bool, DataplaneError> {
        let Some(pins) = &mut self.attachment.pins else { return Ok(false) };
        let Some(link) = pins.link(place) else { return Ok(false) };
        if let Err(error) = program(&mut self.ebpf)?.attach_to_link(link) {
            info!(%error, "what a killed daemon left is attached to nothing any more");
            return Ok(false);
        }
        pins.settle(place, OBJECT)?;
        Ok(true)
    }

    /// Attaches the program in a place that nothing of ours holds any more.
    fn attach_new(&mut self, mode: XdpMode) -> Result<(), DataplaneError> {
        self.attachment.pins.as_ref().map_or(Ok(()), Pins::remove_links)?;
        let link = self.new_link_patiently(mode)?;
        let place = Place::of(&self.attachment.interface, mode)?;
        let Some(pins) = &mut self.attachment.pins else {
            self.attachment.link = Some(link);
            return Ok(());
        };
        let pinned = pins.pin_link(&place, link);
        match pinned.and_then(|link| pins.settle(&place, OBJECT).map(|()| link)) {
            Ok(link) => self.attachment.link = Some(link),
            Err(error) => {
                warn!(%error, "going on unpinned");
                // What is left there now, nobody can use.
                let _ = pins.remove_all();
                self.attachment.pins = None;
                self.attachment.hold = Hold::default();
                return self.attach_new(mode);
            }
        }
        Ok(())
    }

    /// A link that was removed just now may hold its place for some milliseconds.
    fn new_link_patiently(&mut self, mode: XdpMode) -> Result<XdpLink, DataplaneError> {
        let mut tries = TRIES;
        loop {
            match self.new_link(mode) {
                Err(DataplaneError::Busy { .. }) if tries > 0 => {
                    tries -= 1;
                    std::thread::sleep(RETRY_AFTER);
                }
                link => return link,
            }
        }
    }

    fn new_link(&mut self, mode: XdpMode) -> Result<XdpLink, DataplaneError> {
        let flags = if mode == XdpMode::Native { AttachMode::Driver } else { AttachMode::Skb };
        let (program, interface) = (program(&mut self.ebpf)?, &self.attachment.interface);
        let link = program.attach(interface, flags).and_then(|link| program.take_link(link));
        link.map_err(|error| attach_error(&error, interface, mode))
    }

    /// Ends after a failure. What a killed daemon left, and this one has given no zone, goes on until its lease ends: a start
    /// that failed is no reason to be silent earlier. All else is taken off.
    pub fn leave(&mut self) -> Result<(), DataplaneError> {
        if self.attachment.unfed { Ok(()) } else { self.detach() }
    }

    /// Takes the program off, or the one of before that it was to replace, and removes the pins.
    pub fn detach(&mut self) -> Result<(), DataplaneError> {
        let removed = self.attachment.pins.as_mut().map_or(Ok(()), Pins::remove_all);
        self.attachment = Attachment::default();
        self.mode = XdpMode::Off;
        // An error means that it was not loaded.
        program(&mut self.ebpf)?.unload().unwrap_or_default();
        removed
    }

    /// How the program is held where it is.
    pub fn hold(&self) -> Hold {
        self.attachment.hold
    }
}
