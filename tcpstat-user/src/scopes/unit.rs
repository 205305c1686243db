//! Names of systemd units, as they stand in cgroup paths.

/// Longest unit name in bytes (`UNIT_NAME_MAX` of systemd is 256 with the final zero).
const LONGEST: usize = 255;

/// The types of units that have processes.
const TYPES: [&str; 5] = [".service", ".scope", ".socket", ".mount", ".swap"];

/// A systemd unit that has processes: `ssh.service`, `session-3.scope`. The name is as systemctl takes it,
/// escapes included.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnitName(String);

impl UnitName {
    /// The unit whose cgroup has this name, else none.
    ///
    /// systemd puts `_` before names that the kernel has files of, and before those with `_`, in front.
    pub(super) fn parse(directory: &str) -> Option<Self> {
        let name = directory.strip_prefix('_').unwrap_or(directory);
        let before_type = TYPES.iter().find_map(|kind| name.strip_suffix(kind))?;
        let fits = (1..=LONGEST).contains(&name.len())
            && !before_type.is_empty()
            && !before_type.starts_with('@')
            && !before_type.ends_with('@')
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || br":-_.\@".contains(&byte));
        fits.then(|| Self(name.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is a service: a program that an administrator installed, or a user for itself.
    #[must_use]
    pub fn is_service(&self) -> bool {
        self.0.strip_suffix(".service").is_some()
    }

    /// The template of an instance: `getty@.service` of `getty@tty1.service`.
    #[must_use]
    pub fn template(&self) -> Option<String> {
        let (template, instance) = self.0.split_once('@')?;
        let kind = instance.rfind('.').map(|dot| &instance[dot..])?;
        Some(format!("{template}@{kind}"))
    }

    /// The name of an instance without escapes, as `systemd-escape --unescape` writes it: `/dev/sda` of
    /// `check@-dev-sda.service`.
    #[must_use]
    pub fn instance(&self) -> Option<String> {
        let (_, instance) = self.0.split_once('@')?;
        let dot = instance.rfind('.')?;
        unescape(&instance[..dot].replace('-', "/"))
    }
}

/// `text` with the byte for each `\xHH`, else none: an escape that is broken, or bytes that are not UTF-8.
pub(super) fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend_from_slice(before.as_bytes());
        let digits = after.strip_prefix('x').and_then(|digits| digits.get(..2))?;
        let hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        bytes.push(u8::from_str_radix(digits, 16).ok().filter(|_| hex)?);
        rest = &after[3..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(directory: &str) -> Option<String> {
        UnitName::parse(directory).map(|unit| unit.as_str().to_owned())
    }

    #[test]
    fn what_systemd_calls_a_unit_is_one() {
        for (directory, name) in [
            ("ssh.service", "ssh.service"),
            ("getty@tty5.service", "getty@tty5.service"),
            ("_cpu.service", "cpu.service"),
            ("postgresql@9.4-main.service", "postgresql@9.4-main.service"),
            (r"dbus-:1.2-org.x\x2dy@0.service", r"dbus-:1.2-org.x\x2dy@0.service"),
            ("session-3.scope", "session-3.scope"),
        ] {
            assert_eq!(unit(directory).as_deref(), Some(name));
        }
    }

    #[test]
    fn what_systemd_refuses_is_none() {
        let long = format!("{}.service", "a".repeat(248));
        for directory in [
            "",
            ".service",
            "getty",
            "getty@.service",
            "@a.service",
            "a.slice",
            "a b.service",
            "getty####@tty6.service",
            "a\u{7}.service",
            "ä.service",
            &long,
        ] {
            assert_eq!(unit(directory), None, "{directory:?}");
        }
    }

    #[test]
    fn an_instance_has_a_template_and_a_plain_name() {
        let unit = UnitName::parse(r"check@-dev-disk\x2d1.service").unwrap();
        assert_eq!(unit.template().as_deref(), Some("check@.service"));
        assert_eq!(unit.instance().as_deref(), Some("/dev/disk-1"));
        let unit = UnitName::parse("ssh.service").unwrap();
        assert_eq!((unit.template(), unit.instance()), (None, None));
    }

    #[test]
    fn a_broken_escape_is_refused() {
        assert_eq!(unescape(r"qemu\x2d1\x2dvm").as_deref(), Some("qemu-1-vm"));
        for text in [r"a\", r"a\x", r"a\x2", r"a\y2d", r"a\x+1", r"a\xff", "a\\xé"] {
            assert_eq!(unescape(text), None, "{text}");
        }
    }
}
