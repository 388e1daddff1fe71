//! The environment of the child.

use super::Pm2Env;

impl Pm2Env {
    /// The environment in fork mode: exactly the scalar fields of the top level, as text; nothing is inherited.
    /// What no environment can hold (a name that is empty or has `=`, a NUL byte) is left out.
    ///
    /// Call [`Pm2Env::begin_launch`] before. The variables of the IPC channel are the caller's.
    pub fn child_env(&self) -> Vec<(String, String)> {
        self.fields()
            .iter()
            .filter(|(key, _)| !key.is_empty() && !key.contains(['=', '\0']))
            .filter_map(|(key, field)| Some((key.to_owned(), field.as_var()?)))
            .filter(|(_, text)| !text.contains('\0'))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::env;
    use serde_json::json;

    #[test]
    fn only_scalars_and_only_what_fits() {
        let env = env(json!({
            "name": "a", "env": { "HIDDEN": "x" }, "args": ["x"], "gone": null, "PORT": 3000, "watch": false,
            "x=y": "1", "": "1", "nul": "a\u{0}b", "ratio": 2.0,
        }));
        let pairs = env.child_env();
        let text: Vec<_> = pairs.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(text, ["name=a", "PORT=3000", "watch=false", "ratio=2"]);
    }
}
