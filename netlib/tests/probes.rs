//! What this machine says it can do must be so.

use netlib::probe;

#[tokio::test(flavor = "multi_thread")]
async fn probes_tell_what_the_kernel_can() {
    assert!(nix::unistd::geteuid().is_root(), "probes need root");
    probe::vxlan().await.unwrap();
    probe::nftables().await.unwrap();
    // Some machines can, some cannot; who cannot must say what is missing, and be right.
    if let Err(error) = probe::esp().await {
        assert!(error.to_string().contains("ESP"), "{error}");
        let known = std::fs::read_to_string("/proc/crypto").unwrap();
        assert!(!known.contains("rfc4106(gcm(aes))"), "the kernel has the algorithm: {error}");
    }
}
