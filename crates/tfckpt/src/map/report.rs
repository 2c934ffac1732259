//! What a load did, or why it did nothing.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};

use super::convert::{Conversion, Fidelity};

/// What was loaded, and everything that did not fit.
///
/// Printed with `{}` it is a line of numbers and the problems, with `{:#}` each parameter of each module.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LoadReport {
    /// Parameters that have a variable that fits.
    pub loaded: Vec<Loaded>,
    /// Parameters that have no variable.
    pub missing: Vec<Missing>,
    /// Parameters whose variable has another dtype or shape.
    pub mismatched: Vec<Mismatched>,
    /// Variables that no parameter asked for, by name.
    pub unused: Vec<String>,
}

/// A parameter and the variable that fills it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Loaded {
    /// The parameter's path in the model.
    pub path: String,
    /// The variable's name in the checkpoint.
    pub name: String,
    /// Whether its axes are permuted on the way.
    pub transposed: bool,
    /// How many variables it is made of: one, unless a [`Recipe`](super::Recipe) makes it.
    pub variables: usize,
    /// How its dtype is changed on the way.
    pub cast: Option<Conversion>,
    /// The name that was looked for first, and is not there: of an average whose parameter was taken instead, or as another
    /// version of a library calls it.
    pub instead_of: Option<String>,
    /// How it is made, of one that is no variable by itself: the part of the variable; the cell of a recurrent layer, with the
    /// order of its gates and the forget bias. The checkpoint does not say these, so that a wrong one shows nowhere else.
    pub how: Option<String>,
}

/// A parameter without a variable.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Missing {
    /// The parameter's path in the model.
    pub path: String,
    /// The names that were looked for.
    pub names: Vec<String>,
    /// The nearest unused variables.
    pub candidates: Vec<String>,
}

/// A parameter whose variable does not fit it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Mismatched {
    /// The parameter's path in the model.
    pub path: String,
    /// The variable's name in the checkpoint.
    pub name: String,
    /// What the model needs: `float32 [3, 4]`.
    pub expected: String,
    /// What the checkpoint has.
    pub found: String,
    /// What would make it fit, if that can be told.
    pub hint: Option<String>,
}

/// What a load did in one module.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ModuleReport<'r> {
    /// The path of the module; empty for the model itself.
    pub module: &'r str,
    /// Parameters that have a variable that fits.
    pub loaded: Vec<&'r Loaded>,
    /// Parameters that have no variable.
    pub missing: Vec<&'r Missing>,
    /// Parameters whose variable does not fit.
    pub mismatched: Vec<&'r Mismatched>,
}

impl LoadReport {
    /// Whether every parameter was loaded. Unused variables do not matter.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.mismatched.is_empty()
    }

    /// What was laid out otherwise than it is stored.
    pub fn transposed(&self) -> impl Iterator<Item = &Loaded> {
        self.loaded.iter().filter(|loaded| loaded.transposed)
    }

    /// What was converted to another dtype.
    pub fn cast(&self) -> impl Iterator<Item = &Loaded> {
        self.loaded.iter().filter(|loaded| loaded.cast.is_some())
    }

    /// What may have been rounded by that.
    pub fn rounded(&self) -> impl Iterator<Item = &Loaded> {
        self.loaded.iter().filter(|loaded| loaded.is_rounded())
    }

    /// The same by module, in the order of their paths.
    pub fn modules(&self) -> Vec<ModuleReport<'_>> {
        let mut modules: BTreeMap<&str, ModuleReport<'_>> = BTreeMap::new();
        for item in &self.loaded {
            in_module(&mut modules, &item.path).loaded.push(item);
        }
        for item in &self.missing {
            in_module(&mut modules, &item.path).missing.push(item);
        }
        for item in &self.mismatched {
            in_module(&mut modules, &item.path).mismatched.push(item);
        }
        modules.into_values().collect()
    }

    /// The same as JSON, in one line: an object with the arrays `loaded`, `missing`, `mismatched` and `unused`, whose items
    /// have the fields of the types here.
    pub fn to_json(&self) -> String {
        let loaded = |item: &Loaded| {
            let cast = item
                .cast
                .map(|cast| json!({ "from": cast.from().name(), "to": cast.to().name(), "rounds": item.is_rounded() }));
            json!({
                "path": item.path,
                "name": item.name,
                "transposed": item.transposed,
                "variables": item.variables,
                "cast": cast,
                "instead_of": item.instead_of,
                "how": item.how,
            })
        };
        let missing = |item: &Missing| json!({ "path": item.path, "names": item.names, "candidates": item.candidates });
        let mismatched = |item: &Mismatched| {
            json!({
                "path": item.path,
                "name": item.name,
                "expected": item.expected,
                "found": item.found,
                "hint": item.hint,
            })
        };
        let report: Value = json!({
            "loaded": self.loaded.iter().map(loaded).collect::<Vec<_>>(),
            "missing": self.missing.iter().map(missing).collect::<Vec<_>>(),
            "mismatched": self.mismatched.iter().map(mismatched).collect::<Vec<_>>(),
            "unused": self.unused,
        });
        report.to_string()
    }
}

impl Loaded {
    /// Whether the cast may have rounded values.
    pub fn is_rounded(&self) -> bool {
        self.cast.is_some_and(|cast| cast.fidelity() == Fidelity::Lossy)
    }
}

/// The report of the module that the parameter at `path` is in.
fn in_module<'m, 'r>(modules: &'m mut BTreeMap<&'r str, ModuleReport<'r>>, path: &'r str) -> &'m mut ModuleReport<'r> {
    let module = path.rsplit_once('.').map_or("", |(module, _)| module);
    modules.entry(module).or_insert_with(|| ModuleReport {
        module,
        ..ModuleReport::default()
    })
}

/// Lines that are printed of a list before the rest is only counted.
const LINES: usize = 20;

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} loaded", self.loaded.len())?;
        let instead = self.loaded.iter().filter(|loaded| loaded.instead_of.is_some());
        let made = self.loaded.iter().filter(|loaded| loaded.variables > 1);
        let kinds = [
            (self.transposed().count(), "transposed"),
            (self.cast().count(), "cast"),
            (self.rounded().count(), "perhaps rounded"),
            (made.count(), "made of several"),
            (instead.count(), "by another name"),
        ];
        let kinds: Vec<String> = kinds
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, kind)| format!("{count} {kind}"))
            .collect();
        if !kinds.is_empty() {
            write!(f, " ({})", kinds.join(", "))?;
        }
        write!(
            f,
            ", {} missing, {} mismatched, {} unused",
            self.missing.len(),
            self.mismatched.len(),
            self.unused.len()
        )?;
        if f.alternate() {
            self.modules().iter().try_for_each(|module| write!(f, "\n{module}"))?;
            return self.unused.iter().try_for_each(|name| write!(f, "\nunused: `{name}`"));
        }
        let rounded: Vec<&Loaded> = self.rounded().collect();
        section(f, &self.missing, |f, missing| write!(f, "missing: {missing}"))?;
        section(f, &self.mismatched, |f, wrong| write!(f, "mismatched: {wrong}"))?;
        section(f, &rounded, |f, loaded| write!(f, "rounded: {loaded}"))?;
        section(f, &self.leftovers().in_order(), |f, name| write!(f, "unused: `{name}`"))
    }
}

/// A line, and one for each parameter.
impl fmt::Display for ModuleReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.module {
            "" => f.write_str("the model itself: ")?,
            module => write!(f, "`{module}`: ")?,
        }
        write!(f, "{} loaded", self.loaded.len())?;
        for (count, what) in [(self.missing.len(), "missing"), (self.mismatched.len(), "mismatched")] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        self.loaded.iter().try_for_each(|item| write!(f, "\n  {item}"))?;
        self.missing
            .iter()
            .try_for_each(|item| write!(f, "\n  missing: {item}"))?;
        self.mismatched
            .iter()
            .try_for_each(|item| write!(f, "\n  mismatched: {item}"))
    }
}

impl fmt::Display for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.as_str() {
            "" => write!(f, "`{}` from no variable", self.path)?,
            name => write!(f, "`{}` from `{name}`", self.path)?,
        }
        if let Some(how) = &self.how {
            write!(f, ", {how}")?;
        }
        if self.transposed {
            f.write_str(", transposed")?;
        }
        if let Some(cast) = self.cast {
            write!(f, ", cast from {} to {}", cast.from(), cast.to())?;
        }
        match &self.instead_of {
            Some(name) => write!(f, ", as there is no `{name}`"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`, looked for as `{}`", self.path, self.names.join("` or `"))?;
        match self.candidates.as_slice() {
            [] => Ok(()),
            near => write!(f, "; nearest: `{}`", near.join("`, `")),
        }
    }
}

impl fmt::Display for Mismatched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` needs {}, but `{}` is {}",
            self.path, self.expected, self.name, self.found
        )?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

fn section<T>(
    f: &mut fmt::Formatter<'_>,
    items: &[T],
    line: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for item in items.iter().take(LINES) {
        f.write_str("\n  ")?;
        line(f, item)?;
    }
    match items.len().saturating_sub(LINES) {
        0 => Ok(()),
        more => write!(f, "\n  … and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DType;

    fn report() -> LoadReport {
        let loaded = |path: &str, name: &str| Loaded {
            path: path.to_owned(),
            name: name.to_owned(),
            ..Loaded::default()
        };
        LoadReport {
            loaded: vec![
                Loaded {
                    transposed: true,
                    cast: Conversion::new(DType::Float32, DType::Bfloat16),
                    ..loaded("a.fc.weight", "a/fc/kernel")
                },
                Loaded {
                    instead_of: Some("a/fc/bias/ExponentialMovingAverage".to_owned()),
                    ..loaded("a.fc.bias", "a/fc/bias")
                },
                loaded("scale", "scale"),
            ],
            missing: vec![Missing {
                path: "b.weight".to_owned(),
                names: vec!["b/kernel".to_owned(), "b/_kernel".to_owned()],
                candidates: vec!["bb/kernel".to_owned()],
            }],
            mismatched: vec![Mismatched {
                path: "b.bias".to_owned(),
                name: "b/bias".to_owned(),
                expected: "float32 [3]".to_owned(),
                found: "float32 [4]".to_owned(),
                hint: Some("look again".to_owned()),
            }],
            unused: vec!["x".to_owned()],
        }
    }

    #[test]
    fn the_short_form_counts_and_tells_what_is_wrong() {
        assert_eq!(
            report().to_string(),
            "3 loaded (1 transposed, 1 cast, 1 perhaps rounded, 1 by another name), 1 missing, 1 mismatched, 1 unused\
             \n  missing: `b.weight`, looked for as `b/kernel` or `b/_kernel`; nearest: `bb/kernel`\
             \n  mismatched: `b.bias` needs float32 [3], but `b/bias` is float32 [4]; look again\
             \n  rounded: `a.fc.weight` from `a/fc/kernel`, transposed, cast from float32 to bfloat16\
             \n  unused: `x`"
        );
    }

    #[test]
    fn the_long_form_has_every_parameter_by_module() {
        let text = format!("{:#}", report());
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "the model itself: 1 loaded",
                "  `scale` from `scale`",
                "`a.fc`: 2 loaded",
                "  `a.fc.weight` from `a/fc/kernel`, transposed, cast from float32 to bfloat16",
                "  `a.fc.bias` from `a/fc/bias`, as there is no `a/fc/bias/ExponentialMovingAverage`",
                "`b`: 0 loaded, 1 missing, 1 mismatched",
                "  missing: `b.weight`, looked for as `b/kernel` or `b/_kernel`; nearest: `bb/kernel`",
                "  mismatched: `b.bias` needs float32 [3], but `b/bias` is float32 [4]; look again",
                "unused: `x`",
            ]
        );
    }

    #[test]
    fn json_has_all_of_it() {
        let json: Value = serde_json::from_str(&report().to_json()).unwrap();
        assert_eq!(json["loaded"][0]["cast"]["to"], "bfloat16");
        assert_eq!(json["loaded"][0]["cast"]["rounds"], true);
        assert_eq!(json["loaded"][2]["cast"], Value::Null);
        assert_eq!(json["missing"][0]["candidates"][0], "bb/kernel");
        assert_eq!(json["mismatched"][0]["hint"], "look again");
        assert_eq!(json["unused"], json!(["x"]));
    }
}
