//! Memory that nothing has been written to yet, seen as elements of one type or another.

use std::mem::MaybeUninit;

use bytemuck::Pod;

/// The same memory for those who only write. Nothing must ever take the value away from an element of it: this is for
/// functions that fill new memory, to fill what was there before.
pub(crate) fn over<T: Pod>(elements: &mut [T]) -> &mut [MaybeUninit<T>] {
    let (start, len) = (elements.as_mut_ptr(), elements.len());
    #[allow(unsafe_code, reason = "elements are seen as elements that need not be initialised")]
    // SAFETY: the same memory, borrowed for as long, in a type of the same layout. That nothing takes their values away is
    // what callers see to; any bytes that are written instead are elements, which `Pod` says.
    unsafe {
        std::slice::from_raw_parts_mut(start.cast(), len)
    }
}

/// The same memory as elements of another type; `None` if they would not be aligned, or be no whole number.
pub(crate) fn cast<T: Pod, U: Pod>(elements: &mut [MaybeUninit<T>]) -> Option<&mut [MaybeUninit<U>]> {
    let (start, bytes) = (elements.as_mut_ptr().cast::<MaybeUninit<U>>(), size_of_val(elements));
    if size_of::<U>() == 0 || bytes % size_of::<U>() != 0 || !start.is_aligned() {
        return None;
    }
    #[allow(unsafe_code, reason = "there is no safe cast between uninitialised types")]
    // SAFETY: the same memory, borrowed for as long, aligned, and as long as so many elements of either type. They have no
    // padding, and any bytes are elements of them, which `Pod` says.
    Some(unsafe { std::slice::from_raw_parts_mut(start, bytes / size_of::<U>()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_seen_as_another_type_only_where_that_fits() {
        let mut words = [1u32, 2, 3, 4];
        let bytes = cast::<u32, u8>(over(&mut words)).unwrap();
        assert_eq!(bytes.len(), 16);
        assert!(cast::<u8, u32>(&mut bytes[1..5]).is_none(), "not aligned");
        assert!(cast::<u8, u32>(&mut bytes[..5]).is_none(), "no whole number");
        cast::<u8, u32>(&mut bytes[4..8]).unwrap()[0].write(7);
        assert_eq!(words, [1, 7, 3, 4]);
    }
}
