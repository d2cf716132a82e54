//! Damaged and invented images: whatever the bytes are, the planner answers.

use proptest::prelude::*;
use wstap_symbols::{Options, plan};

use super::AT_SYMBOLS;

const IMAGES: [&[u8]; 9] = [
    include_bytes!("../fixtures/small/shared.so"),
    include_bytes!("../fixtures/small/no-sections.so"),
    include_bytes!("../fixtures/small/sysv-hash.so"),
    include_bytes!("../fixtures/small/static-exec"),
    include_bytes!("../fixtures/golang/pie"),
    include_bytes!("../fixtures/golang/17"),
    include_bytes!("../fixtures/golang/17-pie"),
    include_bytes!("../fixtures/boringssl/stripped"),
    include_bytes!("../fixtures/openssl/3.6.3/exec-stripped"),
];

/// Plans `image` both ways; a probe, if any, is inside the file.
fn survives(image: &[u8]) {
    for options in [Options::default(), AT_SYMBOLS] {
        let Ok(plan) = plan(image, &options) else { continue };
        for probe in plan.libraries.iter().flat_map(|library| &library.probes) {
            assert!(probe.offset < image.len() as u64, "{probe:?}");
        }
    }
}

/// A small real image with some of its bytes changed.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), any::<u8>());
    (prop::sample::select(&IMAGES[..]), prop::collection::vec(change, 1..16)).prop_map(
        |(image, changes)| {
            let mut image = image.to_vec();
            for (place, byte) in changes {
                let at = place.index(image.len());
                image[at] = byte;
            }
            image
        },
    )
}

/// A small real image with one of its 64-bit words set to a value that likes to overflow.
fn overflowing() -> impl Strategy<Value = Vec<u8>> {
    let word =
        prop_oneof![Just(u64::MAX), Just(1 << 63), Just(0), Just(u64::MAX - 7), any::<u64>()];
    (prop::sample::select(&IMAGES[..]), any::<prop::sample::Index>(), word).prop_map(
        |(image, place, word)| {
            let mut image = image.to_vec();
            let words = image.len() / 8;
            let at = place.index(words) * 8;
            image[at..at + 8].copy_from_slice(&word.to_le_bytes());
            image
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn damaged_images_are_answered(image in damaged()) {
        survives(&image);
    }

    #[test]
    fn words_that_overflow_are_answered(image in overflowing()) {
        survives(&image);
    }

    #[test]
    fn any_bytes_after_the_magic_are_answered(tail in prop::collection::vec(any::<u8>(), 0..512)) {
        survives(&[b"\x7fELF\x02\x01\x01".as_slice(), &tail].concat());
    }
}

#[test]
fn truncated_images_are_answered() {
    for image in IMAGES {
        // Every length where the headers are, and a sample of the rest.
        let lengths = (0..image.len()).filter(|len| *len < 0x400 || len % 13 == 0);
        for len in lengths {
            survives(&image[..len]);
        }
    }
}

#[test]
fn an_image_at_an_odd_address_is_read_like_any_other() {
    for image in IMAGES {
        let shifted = [b"?", image].concat();
        assert_eq!(plan(&shifted[1..], &AT_SYMBOLS), plan(image, &AT_SYMBOLS));
    }
}
