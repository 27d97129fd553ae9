//! Programs by another clock. The library of faketime is loaded without its wrapper, which refuses to start where
//! an earlier process of the same number was killed and left its semaphore behind.

/// What a program's environment must have so that its clock is `seconds` ahead, or behind.
pub fn shifted(seconds: i64) -> [(&'static str, String); 2] {
    [
        // The loader knows what $LIB is here.
        (
            "LD_PRELOAD",
            "/usr/$LIB/faketime/libfaketime.so.1".to_owned(),
        ),
        ("FAKETIME", format!("{seconds:+}")),
    ]
}
