//! Every conversion there and back.

use super::*;
use DType::*;

fn converted(from: DType, to: DType, source: &[u8], exactly: bool) -> Result<Vec<u8>> {
    let conversion = Conversion::new(from, to).unwrap();
    let count = source.len() / from.size().unwrap();
    let mut destination = vec![0; count * to.size().unwrap()];
    conversion.convert("v", exactly, source, &mut destination)?;
    Ok(destination)
}

#[test]
fn fidelity_is_told_from_the_types() {
    let cases = [
        (Int8, Int16, Fidelity::Exact),
        (Int8, Int8, Fidelity::Same),
        (Bool, Uint8, Fidelity::Same),
        (Uint8, Bool, Fidelity::Checked),
        (Uint16, Int16, Fidelity::Checked),
        (Uint16, Uint32, Fidelity::Exact),
        (Uint16, Int32, Fidelity::Exact),
        (Uint64, Int64, Fidelity::Checked),
        (Int64, Uint64, Fidelity::Checked),
        (Int4, Int16, Fidelity::Exact),
        (Float8E4m3fn, Float16, Fidelity::Exact),
        (Float8E5m2fnuz, Float16, Fidelity::Exact),
        (Float8E5m2, Bfloat16, Fidelity::Exact),
        (Float16, Float32, Fidelity::Exact),
        (Float16, Bfloat16, Fidelity::Lossy),
        (Bfloat16, Float16, Fidelity::Lossy),
        (Float64, Float32, Fidelity::Lossy),
        (Int8, Float16, Fidelity::Exact),
        (Int16, Float16, Fidelity::Lossy),
        (Int32, Float32, Fidelity::Lossy),
        (Int32, Float64, Fidelity::Exact),
        (Uint64, Float64, Fidelity::Lossy),
    ];
    for (from, to, fidelity) in cases {
        assert_eq!(
            Conversion::new(from, to).unwrap().fidelity(),
            fidelity,
            "{from} to {to}"
        );
    }
    for (from, to) in [
        (Float32, Int32),
        (Complex64, Float32),
        (String, Uint8),
        (Qint8, Int8),
        (Bool, Float32),
    ] {
        assert_eq!(Conversion::new(from, to), None, "{from} to {to}");
    }
    assert!(Conversion::new(Complex64, Complex64).is_some());
}

#[test]
fn what_is_exact_comes_back_as_it_was() {
    let every_byte: Vec<u8> = (0..=255).collect();
    for (narrow, wide) in [
        (Int8, Int16),
        (Int8, Int64),
        (Uint8, Int32),
        (Float8E4m3fn, Float16),
        (Float8E5m2, Float16),
        (Float8E4m3fnuz, Float32),
        (Float8E4m3b11fnuz, Float64),
        (Float8E5m2fnuz, Bfloat16),
        (Int16, Float32),
        (Uint16, Uint32),
        (Uint16, Int32),
        (Float16, Float32),
        (Bfloat16, Float32),
        (Float32, Float64),
    ] {
        let there = converted(narrow, wide, &every_byte, true).unwrap();
        // What was an integer is asked for as a number, and does not come back.
        if Conversion::new(wide, narrow).is_some() {
            assert_eq!(
                converted(wide, narrow, &there, true).unwrap(),
                every_byte,
                "{narrow} as {wide}"
            );
        }
    }
    let nibbles: Vec<u8> = (0..16).collect();
    for (narrow, wide) in [(Int4, Int16), (Uint4, Uint8), (Int4, Int8), (Float4E2m1fn, Float16)] {
        let there = converted(narrow, wide, &nibbles, true).unwrap();
        assert_eq!(converted(wide, narrow, &there, true).unwrap(), nibbles);
    }
    assert_eq!(
        converted(Int4, Int8, &[0x08, 0x0f, 0x07], true).unwrap(),
        [0xf8, 0xff, 7]
    );
    assert_eq!(
        converted(Uint64, Int64, &i64::MAX.to_le_bytes(), true).unwrap(),
        i64::MAX.to_le_bytes()
    );
}

#[test]
fn a_value_that_does_not_fit_is_named() {
    let error = |from, to, source: &[u8]| converted(from, to, source, true).unwrap_err().to_string();
    let two = [0u64.to_le_bytes(), u64::MAX.to_le_bytes()].concat();
    let text = error(Uint64, Int64, &two);
    assert!(
        text.contains("`v`") && text.contains("element 1") && text.contains("18446744073709551615"),
        "{text}"
    );
    assert!(error(Int16, Int8, &128i16.to_le_bytes()).contains("128"));
    assert!(error(Uint8, Bool, &[0, 1, 2]).contains("element 2"));
    assert!(error(Float32, Float16, &0.1f32.to_le_bytes()).contains("0.1"));
    assert!(error(Float32, Float8E4m3fn, &1000f32.to_le_bytes()).contains("1000"));
    assert!(error(Float16, Float8E4m3fnuz, &0x8000u16.to_le_bytes()).contains("-0"));
    // Rounding is allowed where it was asked for; integers never wrap.
    assert!(converted(Float32, Float16, &0.1f32.to_le_bytes(), false).is_ok());
    assert!(converted(Int32, Float32, &16_777_217i32.to_le_bytes(), false).is_ok());
    assert!(converted(Int32, Float32, &16_777_217i32.to_le_bytes(), true).is_err());
    assert!(converted(Int16, Int8, &128i16.to_le_bytes(), false).is_err());
    assert!(converted(Int16, Int8, &[1, 0, 2], false).is_err());
}

#[test]
fn pieces_of_any_size_are_converted() {
    let source: Vec<u8> = (0..1000i32).flat_map(|i| (i % 200 - 100).to_le_bytes()).collect();
    let whole = converted(Int32, Int8, &source, true).unwrap();
    let conversion = Conversion::new(Int32, Int8).unwrap();
    for piece in [1, 3, 4, 7, 4000] {
        let mut streamed = Vec::new();
        let mut sink = |bytes: &[u8]| {
            streamed.extend_from_slice(bytes);
            Ok(())
        };
        let mut through = conversion.through("v", &mut sink);
        source.chunks(piece).try_for_each(&mut through).unwrap();
        drop(through);
        assert_eq!(streamed, whole, "{piece}");
    }
    let mut nowhere = |_: &[u8]| Ok(());
    let mut through = conversion.through("v", &mut nowhere);
    through(&[1, 0, 0, 0, 2]).unwrap();
    let error = through(&[1, 0, 0]).unwrap_err().to_string();
    assert!(error.contains("element 1") && error.contains("258"), "{error}");
}
