//! Whether KVM runs guests here: proven by running one.
//!
//! A `/dev/kvm` that opens, makes a machine and even executes an instruction may still not run
//! ordinary guests: where the kernel emulates the processor's extensions, `hlt` works and the return
//! from an interrupt in protected mode, which every boot loader makes, does not. So the probe's guest
//! is such a return, to a `hlt`; it has a second to get there.

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};
use std::fs::File;
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::ptr::NonNull;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// How long five instructions may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// Bytes of the guest's memory: code at 0, descriptors in the middle, stack from the end.
const PAGE: usize = 4096;
/// The version of KVM's interface, the same since 2007.
const VERSION: i32 = 12;
/// `KVM_EXIT_HLT`.
const EXIT_HLT: u32 = 5;
/// Where the reason of an exit stands in the shared page, `struct kvm_run`.
const EXIT_REASON: usize = 8;
/// `pushf`, `push cs`, `push 8`, `iret`, and at 8 `hlt`.
const CODE: [u8; 9] = [0x9c, 0x0e, 0x68, 8, 0, 0, 0, 0xcf, 0xf4];
/// Where the guest's segment descriptors are: none, code and data over all addresses.
const DESCRIPTORS: usize = 0x800;
const DESCRIPTOR: [u64; 3] = [0, 0x00cf_9b00_0000_ffff, 0x00cf_9300_0000_ffff];
/// Offsets of the last two into the table; also their selectors.
const CODE_SELECTOR: u16 = 8;
const DATA_SELECTOR: u16 = 16;
/// The bit of CR0 that turns protected mode on.
const PROTECTED: u64 = 1;

/// Why KVM does not run guests here.
#[derive(Debug, thiserror::Error)]
pub enum KvmError {
    /// The device cannot be opened.
    #[error("cannot open /dev/kvm")]
    Open(#[source] std::io::Error),
    /// One of KVM's calls failed.
    #[error("cannot {action} with /dev/kvm")]
    Call {
        /// What was tried.
        action: &'static str,
        /// Why.
        #[source]
        source: nix::Error,
    },
    /// The interface is an unknown one.
    #[error("/dev/kvm speaks version {0} of its interface, not {VERSION}")]
    Version(i32),
    /// The guest ended in another way than it must.
    #[error("the probe's guest ended by reason {0} instead of halting")]
    Exit(u32),
    /// The guest did not get anywhere.
    #[error("the probe's guest did not execute five instructions within {} s", PATIENCE.as_secs())]
    Stuck,
    /// The probe's thread could not be started or ended early.
    #[error("the probe of /dev/kvm broke off")]
    Broken,
}

#[repr(C)]
struct MemoryRegion {
    slot: u32,
    flags: u32,
    guest_physical: u64,
    size: u64,
    host_virtual: u64,
}

/// The stack pointer's place among the general registers.
const STACK_POINTER: usize = 6;

/// `struct kvm_regs`.
#[repr(C)]
#[derive(Default)]
struct Registers {
    general: [u64; 16],
    instruction: u64,
    flags: u64,
}

/// `struct kvm_segment`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Segment {
    base: u64,
    limit: u32,
    selector: u16,
    kind: u8,
    present: u8,
    privilege: u8,
    wide: u8,
    code_or_data: u8,
    long: u8,
    pages: u8,
    available: u8,
    unusable: u8,
    padding: u8,
}

impl Segment {
    /// All addresses, in 32-bit protected mode.
    fn flat(selector: u16, kind: u8) -> Self {
        Self {
            base: 0,
            limit: u32::MAX,
            selector,
            kind,
            present: 1,
            privilege: 0,
            wide: 1,
            code_or_data: 1,
            long: 0,
            pages: 1,
            available: 0,
            unusable: 0,
            padding: 0,
        }
    }
}

/// `struct kvm_dtable`.
#[repr(C)]
struct Table {
    base: u64,
    limit: u16,
    padding: [u16; 3],
}

/// `struct kvm_sregs`.
#[repr(C)]
struct SpecialRegisters {
    code: Segment,
    /// `ds`, `es`, `fs`, `gs` and `ss`.
    data: [Segment; 5],
    /// `tr` and `ldt`.
    system: [Segment; 2],
    descriptors: Table,
    interrupts: Table,
    /// CR0, CR2, CR3, CR4, CR8, EFER and the local APIC's base.
    control: [u64; 7],
    pending: [u64; 4],
}

/// KVM's calls, by their numbers in linux/kvm.h. Those without an argument insist on a zero.
mod calls {
    #![allow(missing_docs, reason = "the macros take no documentation")]
    use super::{MemoryRegion, Registers, SpecialRegisters};

    nix::ioctl_write_int_bad!(get_version, nix::request_code_none!(0xae, 0x00));
    nix::ioctl_write_int_bad!(create_machine, nix::request_code_none!(0xae, 0x01));
    nix::ioctl_write_int_bad!(get_shared_size, nix::request_code_none!(0xae, 0x04));
    nix::ioctl_write_int_bad!(create_processor, nix::request_code_none!(0xae, 0x41));
    nix::ioctl_write_ptr!(set_memory, 0xae, 0x46, MemoryRegion);
    nix::ioctl_write_int_bad!(run_processor, nix::request_code_none!(0xae, 0x80));
    nix::ioctl_write_ptr!(set_registers, 0xae, 0x82, Registers);
    nix::ioctl_read!(get_special, 0xae, 0x83, SpecialRegisters);
    nix::ioctl_write_ptr!(set_special, 0xae, 0x84, SpecialRegisters);
}

/// Runs the probe's guest.
///
/// # Errors
/// Whatever keeps it from halting within a second.
pub fn probe() -> Result<String, KvmError> {
    let (tell, told) = channel();
    let run = move || {
        let _ = tell.send(run_guest());
    };
    // A thread that hangs in the kernel is left behind; the answer is clear then.
    std::thread::Builder::new()
        .name("kvm-probe".into())
        .spawn(run)
        .map_err(|_| KvmError::Broken)?;
    match told.recv_timeout(PATIENCE) {
        Ok(outcome) => outcome.map(|()| "ran a guest".into()),
        Err(RecvTimeoutError::Timeout) => Err(KvmError::Stuck),
        Err(RecvTimeoutError::Disconnected) => Err(KvmError::Broken),
    }
}

fn failed(action: &'static str) -> impl FnOnce(nix::Error) -> KvmError {
    move |source| KvmError::Call { action, source }
}

/// A descriptor that an ioctl returned.
fn owned(descriptor: i32) -> File {
    // SAFETY: KVM's creating calls return a new descriptor that nobody else has.
    unsafe { File::from_raw_fd(descriptor) }
}

fn run_guest() -> Result<(), KvmError> {
    let kvm = File::options().read(true).write(true).open("/dev/kvm").map_err(KvmError::Open)?;
    // SAFETY: a call with a number as argument on an open descriptor.
    let version =
        unsafe { calls::get_version(kvm.as_raw_fd(), 0) }.map_err(failed("ask for the version"))?;
    if version != VERSION {
        return Err(KvmError::Version(version));
    }
    // SAFETY: the argument is the machine's type, 0 for the default.
    let machine = unsafe { calls::create_machine(kvm.as_raw_fd(), 0) };
    let machine = owned(machine.map_err(failed("create a machine"))?);
    let memory = Mapping::memory()?;
    memory.write(0, &CODE);
    for (place, descriptor) in (DESCRIPTORS..).step_by(8).zip(DESCRIPTOR) {
        memory.write(place, &descriptor.to_le_bytes());
    }
    let region = MemoryRegion {
        slot: 0,
        flags: 0,
        guest_physical: 0,
        size: PAGE as u64,
        host_virtual: memory.address.as_ptr() as u64,
    };
    // SAFETY: the region describes memory that is mapped until after the machine is closed.
    unsafe { calls::set_memory(machine.as_raw_fd(), &region) }.map_err(failed("give memory"))?;
    // SAFETY: the argument is the processor's number.
    let processor = unsafe { calls::create_processor(machine.as_raw_fd(), 0) };
    let processor = owned(processor.map_err(failed("create a processor"))?);
    let shared = Mapping::shared(&kvm, &processor)?;
    set_up(processor.as_raw_fd())?;
    // SAFETY: the processor has memory and registers; the call returns when the guest exits.
    unsafe { calls::run_processor(processor.as_raw_fd(), 0) }.map_err(failed("run a guest"))?;
    let reason = u32::from_ne_bytes(std::array::from_fn(|byte| shared.read(EXIT_REASON + byte)));
    drop((processor, machine));
    if reason == EXIT_HLT { Ok(()) } else { Err(KvmError::Exit(reason)) }
}

/// 32-bit protected mode at address 0.
fn set_up(processor: RawFd) -> Result<(), KvmError> {
    // SAFETY: all zeroes are a valid value of this structure of integers.
    let mut special: SpecialRegisters = unsafe { std::mem::zeroed() };
    // SAFETY: the structure has the size that KVM fills.
    unsafe { calls::get_special(processor, &mut special) }.map_err(failed("read registers"))?;
    special.code = Segment::flat(CODE_SELECTOR, 11);
    special.data = [Segment::flat(DATA_SELECTOR, 3); 5];
    (special.descriptors.base, special.descriptors.limit) = (DESCRIPTORS as u64, 23);
    special.control[0] |= PROTECTED;
    // SAFETY: the structure is what KVM gave, but for mode and segments.
    unsafe { calls::set_special(processor, &special) }.map_err(failed("set registers"))?;
    let mut registers = Registers::default();
    registers.general[STACK_POINTER] = PAGE as u64;
    // The second bit of the flags is always one.
    registers.flags = 2;
    // SAFETY: the structure has the size that KVM reads.
    unsafe { calls::set_registers(processor, &registers) }.map_err(failed("set registers"))?;
    Ok(())
}

/// A mapping that ends when dropped.
struct Mapping {
    address: NonNull<libc::c_void>,
    length: NonZeroUsize,
}

impl Mapping {
    /// One page for the guest.
    fn memory() -> Result<Self, KvmError> {
        let length = NonZeroUsize::new(PAGE).ok_or(KvmError::Broken)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new anonymous mapping at an address of the kernel's choice.
        let address = unsafe { mmap_anonymous(None, length, protection, MapFlags::MAP_SHARED) };
        let address = address.map_err(failed("map memory"))?;
        // SAFETY: the range is the mapping just made. A child forked meanwhile needs no copy.
        let _ = unsafe { madvise(address, PAGE, MmapAdvise::MADV_DONTFORK) };
        Ok(Self { address, length })
    }

    /// The page that a processor shares with us.
    fn shared(kvm: &File, processor: &File) -> Result<Self, KvmError> {
        // SAFETY: a call with a number as argument on an open descriptor.
        let size = unsafe { calls::get_shared_size(kvm.as_raw_fd(), 0) }
            .map_err(failed("ask for sizes"))?;
        let size = usize::try_from(size).ok().filter(|size| *size >= EXIT_REASON + 4);
        let length = size.and_then(NonZeroUsize::new).ok_or(KvmError::Broken)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping of the processor's own page, at an address of the kernel's choice.
        let address = unsafe {
            nix::sys::mman::mmap(None, length, protection, MapFlags::MAP_SHARED, processor, 0)
        };
        Ok(Self { address: address.map_err(failed("map a processor"))?, length })
    }

    fn read(&self, offset: usize) -> u8 {
        assert!(offset < self.length.get());
        // SAFETY: within the mapping; volatile because the kernel writes there.
        unsafe { self.address.as_ptr().cast::<u8>().add(offset).read_volatile() }
    }

    fn write(&self, offset: usize, bytes: &[u8]) {
        for (place, value) in (offset..).zip(bytes) {
            assert!(place < self.length.get());
            // SAFETY: within the mapping; volatile because the guest reads there.
            unsafe { self.address.as_ptr().cast::<u8>().add(place).write_volatile(*value) }
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: made by us with this length, and nothing refers to it any more.
        let _ = unsafe { munmap(self.address, self.length.get()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_the_sizes_that_kvm_knows() {
        assert_eq!(size_of::<MemoryRegion>(), 32);
        assert_eq!(size_of::<Registers>(), 144);
        assert_eq!(size_of::<SpecialRegisters>(), 312);
    }

    #[test]
    fn answers_in_time_whatever_the_host_can() {
        let begun = std::time::Instant::now();
        let outcome = probe();
        assert!(begun.elapsed() < 2 * PATIENCE, "{outcome:?}");
    }
}
