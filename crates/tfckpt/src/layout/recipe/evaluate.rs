//! Bytes out of bytes.

use std::borrow::Cow;

use super::check::{Node, Ready};
use super::numbers;
use crate::dtype::DType;

impl Ready {
    /// The size of the result in bytes.
    pub(crate) fn len(&self, dtype: DType) -> usize {
        // Was seen to fit into memory when the recipe was checked.
        self.dims.iter().product::<usize>() * dtype.size().unwrap_or(0)
    }

    /// The result, little-endian and row-major, of the bytes of the sources in the order of their numbers. Copies nothing
    /// that stays as it is, and has at most twice what it works on in memory besides the sources.
    ///
    /// # Panics
    /// If the lengths of the sources are not those of the shapes that the recipe was checked with: an error of the caller
    /// and never of a file.
    pub(crate) fn bytes<'s>(&self, dtype: DType, sources: &[&'s [u8]]) -> Cow<'s, [u8]> {
        let size = dtype.size().unwrap_or(0);
        match &self.node {
            Node::Source(number) => {
                let source = sources.get(*number).copied().unwrap_or_default();
                assert_eq!(source.len(), self.len(dtype), "a source has the length of its shape");
                Cow::Borrowed(source)
            }
            Node::Slice { of, axis, start } => {
                let (len, outer) = (of.run(axis + 1, size), of.run(*axis, size));
                let range = start * len..(start + self.dims.get(*axis).copied().unwrap_or(0)) * len;
                sliced(of.bytes(dtype, sources), outer, range)
            }
            Node::Concat { of, axis } => {
                let parts: Vec<(Cow<'s, [u8]>, usize)> = of
                    .iter()
                    .map(|part| (part.bytes(dtype, sources), part.run(*axis, size)))
                    .collect();
                let mut all = Vec::with_capacity(self.len(dtype));
                let rows: usize = self.dims.iter().take(*axis).product();
                for row in 0..rows {
                    for (bytes, run) in &parts {
                        all.extend_from_slice(bytes.get(row * run..(row + 1) * run).unwrap_or_default());
                    }
                }
                Cow::Owned(all)
            }
            Node::Permute { of, transform } => {
                let mut moved = vec![0; self.len(dtype)];
                transform.apply(size, &of.bytes(dtype, sources), &mut moved);
                Cow::Owned(moved)
            }
            Node::Reshape(of) => of.bytes(dtype, sources),
            Node::Sum(of) => {
                let mut parts = of.iter().map(|part| part.bytes(dtype, sources));
                let mut sum = parts.next().unwrap_or_default().into_owned();
                parts.for_each(|part| numbers::add(dtype, &mut sum, &part));
                Cow::Owned(sum)
            }
            Node::Add { of, value } => {
                let mut sum = of.bytes(dtype, sources).into_owned();
                numbers::add(dtype, &mut sum, value);
                Cow::Owned(sum)
            }
            Node::Constant(value) => Cow::Owned(value.repeat(self.dims.iter().product())),
            Node::IfEqual { pair, then, otherwise } => {
                let [left, right] = pair.each_ref().map(|side| side.bytes(dtype, sources));
                let chosen = if left == right { then } else { otherwise };
                chosen.bytes(dtype, sources)
            }
        }
    }

    /// The bytes of all that has the same indices along the axes before `axis`.
    fn run(&self, axis: usize, size: usize) -> usize {
        self.dims.iter().skip(axis).product::<usize>() * size
    }
}

/// Of each run of `run` bytes those in `range`.
fn sliced(bytes: Cow<'_, [u8]>, run: usize, range: std::ops::Range<usize>) -> Cow<'_, [u8]> {
    if run == 0 {
        return Cow::Owned(Vec::new());
    }
    match bytes {
        Cow::Borrowed(bytes) if bytes.len() == run => Cow::Borrowed(bytes.get(range).unwrap_or_default()),
        bytes => {
            let runs = bytes.chunks_exact(run).filter_map(|run| run.get(range.clone()));
            Cow::Owned(runs.flatten().copied().collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Given, Recipe, RecipeFault, Source};
    use super::*;

    /// Carries out a recipe on float32 sources `a` and `b`.
    fn cook(recipe: &Recipe, given: &[(&str, &[usize], &[f32])]) -> Result<(Vec<usize>, Vec<f32>), RecipeFault> {
        let mut find = |source: &Source| {
            let place = |name: &String| given.iter().position(|(own, ..)| own == name);
            let number = source.names.iter().find_map(place)?;
            let (name, dims, _) = given[number];
            Some(Given {
                number,
                name: name.to_owned(),
                dtype: DType::Float32,
                dims: dims.to_vec(),
            })
        };
        let ready = recipe.check(DType::Float32, &mut find)?;
        let sources: Vec<&[u8]> = given.iter().map(|(.., values)| bytemuck::cast_slice(values)).collect();
        let bytes = ready.bytes(DType::Float32, &sources);
        assert_eq!(bytes.len(), ready.len(DType::Float32));
        Ok((ready.dims().to_vec(), bytemuck::pod_collect_to_vec(&bytes)))
    }

    const A: (&str, &[usize], &[f32]) = ("a", &[2, 3], &[0., 1., 2., 3., 4., 5.]);
    const B: (&str, &[usize], &[f32]) = ("b", &[2, 1], &[10., 20.]);

    #[test]
    fn each_step_moves_elements_as_its_name_says() {
        let a = || Recipe::source("a");
        let cases: [(Recipe, &[usize], &[f32]); 10] = [
            (a(), &[2, 3], A.2),
            (a().slice(1, 1..3), &[2, 2], &[1., 2., 4., 5.]),
            (a().slice(0, 1..2), &[1, 3], &[3., 4., 5.]),
            (a().slice(1, 2..2), &[2, 0], &[]),
            (a().permute([1, 0]), &[3, 2], &[0., 3., 1., 4., 2., 5.]),
            (a().permute([1, 0]).slice(0, 1..2), &[1, 2], &[1., 4.]),
            (a().reshape([3, 2]), &[3, 2], A.2),
            (
                Recipe::concat(1, [Recipe::any_of(["none", "b"]), a()]),
                &[2, 4],
                &[10., 0., 1., 2., 20., 3., 4., 5.],
            ),
            (
                Recipe::sum([a(), Recipe::constant([2, 3], 0.5)]).plus(1.0),
                &[2, 3],
                &[1.5, 2.5, 3.5, 4.5, 5.5, 6.5],
            ),
            (
                Recipe::source("b").if_equal(a(), a(), Recipe::constant([2, 1], 7.0)),
                &[2, 1],
                &[10., 20.],
            ),
        ];
        for (recipe, dims, values) in cases {
            assert_eq!(
                cook(&recipe, &[A, B]),
                Ok((dims.to_vec(), values.to_vec())),
                "{recipe:?}"
            );
        }
        let unequal = a().if_equal(a(), a().plus(1.0), Recipe::constant([2, 3], 7.0));
        assert_eq!(cook(&unequal, &[A]).unwrap().1, [7.0; 6]);
    }

    #[test]
    fn gates_that_were_taken_apart_and_reordered_come_back_as_they_were() {
        let values: Vec<f32> = (0..3 * 8).map(|i| i as f32 - 7.5).collect();
        let kernel: (&str, &[usize], &[f32]) = ("kernel", &[3, 8], &values);
        let gates = [2, 0, 3, 1].map(|gate: usize| {
            let gate = Recipe::source("kernel")
                .slice(1, 2 * gate..2 * gate + 2)
                .permute([1, 0]);
            cook(&gate, &[kernel]).unwrap()
        });
        let names = ["c", "i", "o", "f"];
        let given: Vec<(&str, &[usize], &[f32])> = names
            .iter()
            .zip(&gates)
            .map(|(name, (dims, values))| (*name, dims.as_slice(), values.as_slice()))
            .collect();
        let back = Recipe::concat(1, ["i", "f", "c", "o"].map(|gate| Recipe::source(gate).permute([1, 0])));
        assert_eq!(cook(&back, &given).unwrap(), (vec![3, 8], values));
    }

    #[test]
    fn adding_zero_keeps_every_bit() {
        let odd = [-0.0, f32::from_bits(0x7fc0_1234), f32::MIN_POSITIVE / 4.0, -1.5];
        let given: (&str, &[usize], &[f32]) = ("a", &[4], &odd);
        let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        let zero = || Recipe::constant([4], 0.0);
        for recipe in [
            Recipe::sum([Recipe::source("a"), zero()]),
            Recipe::sum([zero(), Recipe::source("a")]),
            Recipe::source("a").plus(0.0),
        ] {
            let (_, values) = cook(&recipe, &[given]).unwrap();
            assert_eq!(bits(values)[1..], bits(odd.to_vec())[1..], "{recipe:?}");
        }
        let (_, values) = cook(&Recipe::source("a").plus(0.0), &[given]).unwrap();
        assert_eq!(bits(values), bits(odd.to_vec()));
    }

    #[test]
    fn what_does_not_fit_is_told_before_there_are_bytes() {
        let a = || Recipe::source("a");
        let fault = |recipe: Recipe| cook(&recipe, &[A, B]).unwrap_err().to_string();
        assert_eq!(fault(a().slice(1, 2..4)), "no elements 2..4 along axis 1 of [2, 3]");
        assert_eq!(fault(a().slice(2, 0..1)), "no elements 0..1 along axis 2 of [2, 3]");
        assert_eq!(
            fault(a().slice(0, usize::MAX - 1..usize::MAX)),
            format!("no elements {}..{} along axis 0 of [2, 3]", usize::MAX - 1, usize::MAX)
        );
        assert_eq!(fault(a().permute([0, 0])), "axes [0, 0] are not those of [2, 3]");
        assert_eq!(fault(a().reshape([4])), "[2, 3] has not as many elements as [4]");
        assert!(fault(a().reshape([usize::MAX, 2])).contains("has not as many elements"));
        assert_eq!(
            fault(Recipe::concat(0, [a(), Recipe::source("b")])),
            "[2, 3] and [2, 1] do not fit together along axis 0"
        );
        assert_eq!(
            fault(Recipe::sum([a(), Recipe::source("b")])),
            "[2, 3] and [2, 1] do not fit together"
        );
        assert_eq!(
            fault(a().of_shape([2, 4])),
            "`a` is float32 [2, 3], needed is float32 [2, 4]"
        );
        assert_eq!(fault(Recipe::any_of(["c", "d"])), "there is no `c` and no `d`");
        assert_eq!(fault(Recipe::Sum(Vec::new())), "nothing to put together");
        assert!(cook(&Recipe::constant([usize::MAX], 0.0), &[]).is_err());
        let mut none = |_: &Source| None;
        let whole = Recipe::constant([2], 0.5).check(DType::Int32, &mut none).unwrap_err();
        assert_eq!(whole.to_string(), "0.5 is no int32");
        let sum = Recipe::sum([Recipe::constant([2], 1.0), Recipe::constant([2], 1.0)]);
        let sum = sum.check(DType::Int32, &mut none).unwrap_err();
        assert_eq!(sum.to_string(), "int32 elements cannot be added");
        let text = Recipe::constant([2], 1.0).check(DType::String, &mut none).unwrap_err();
        assert_eq!(text.to_string(), "string elements cannot be moved");
    }

    #[test]
    fn sums_are_made_in_the_dtype_itself() {
        let halves = Recipe::sum([Recipe::constant([1], 2048.0), Recipe::constant([1], 1.0)]);
        let bytes = |dtype| {
            let ready = halves.check(dtype, &mut |_| None).unwrap();
            ready.bytes(dtype, &[]).into_owned()
        };
        assert_eq!(bytes(DType::Float64), 2049f64.to_le_bytes());
        #[cfg(feature = "half")]
        assert_eq!(bytes(DType::Float16), half::f16::from_f32(2048.0).to_le_bytes());
        #[cfg(feature = "half")]
        assert_eq!(bytes(DType::Bfloat16), half::bf16::from_f32(2048.0).to_le_bytes());
    }
}
