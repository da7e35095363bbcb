//! Results as JUnit XML, in the form that build servers read: suites with counts and
//! times, cases with file and line, `skipped`, `failure`, `error` and `system-out`.

use std::time::Duration;

use super::run::{Ran, Status, TestTold};
use super::told;
use crate::output::Paint;

/// One suite for each file.
pub(super) fn xml(ran: &Ran) -> String {
    let mut files: Vec<&str> = ran.results.iter().map(|result| result.file.as_str()).collect();
    files.sort_unstable();
    files.dedup();
    let all: Vec<&TestTold> = ran.results.iter().collect();
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    xml.push_str(&format!("<testsuites name=\"lictor\"{}>\n", counts(&all)));
    for file in files {
        let results: Vec<&TestTold> =
            ran.results.iter().filter(|result| result.file == file).collect();
        xml.push_str(&format!("  <testsuite name=\"{}\"{}>\n", escape(file), counts(&results)));
        results.into_iter().for_each(|result| xml.push_str(&testcase(result)));
        xml.push_str("  </testsuite>\n");
    }
    xml.push_str("</testsuites>\n");
    xml
}

fn counts(results: &[&TestTold]) -> String {
    let count = |status| results.iter().filter(|result| result.status == status).count();
    let time: Duration = results.iter().map(|result| result.elapsed).sum();
    format!(
        " tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{:.6}\"",
        results.len(),
        count(Status::Fail),
        count(Status::Error),
        count(Status::Skipped),
        time.as_secs_f64()
    )
}

fn testcase(result: &TestTold) -> String {
    let head = format!(
        "    <testcase classname=\"{}\" name=\"{}\" time=\"{:.6}\" file=\"{}\" line=\"{}\"",
        escape(&result.file),
        escape(&result.name),
        result.elapsed.as_secs_f64(),
        escape(&result.file),
        result.line
    );
    let message = escape(&result.problems().join("; "));
    let said = |element: &str| {
        let why = escape(&told::details(result, Paint::plain()));
        format!("      <{element} message=\"{message}\" type=\"{element}\">{why}</{element}>\n")
    };
    let mut inner = match result.status {
        Status::Pass => String::new(),
        Status::Skipped => format!("      <skipped message=\"{message}\"/>\n"),
        Status::Fail => said("failure"),
        Status::Error => said("error"),
    };
    if !result.prints.is_empty() {
        let prints = escape(&result.prints.join("\n"));
        inner.push_str(&format!("      <system-out>{prints}</system-out>\n"));
    }
    if inner.is_empty() {
        return format!("{head}/>\n");
    }
    format!("{head}>\n{inner}    </testcase>\n")
}

/// Text as XML; a character that XML cannot hold is shown by its number.
fn escape(text: &str) -> String {
    let mut xml = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '"' => xml.push_str("&quot;"),
            '\n' => xml.push_str("&#10;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {
                xml.push_str(&format!("\\u{{{:x}}}", u32::from(c)));
            }
            c => xml.push(c),
        }
    }
    xml
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_element_and_everything_is_counted_and_escaped() {
        let told = |status, line| TestTold {
            sort: "case",
            file: "cases/a.yaml".to_owned(),
            line,
            name: "a <b> & \"c\"".to_owned(),
            status,
            messages: vec!["because".to_owned()],
            elapsed: Duration::from_micros(1500),
            ..TestTold::default()
        };
        let printed = TestTold { prints: vec!["x:1: <y>".to_owned()], ..told(Status::Pass, 3) };
        let results = vec![
            TestTold { messages: Vec::new(), ..told(Status::Pass, 1) },
            told(Status::Skipped, 2),
            printed,
            told(Status::Fail, 4),
            told(Status::Error, 5),
        ];
        let xml = xml(&Ran { results, ..Ran::default() });
        let counts = "tests=\"5\" failures=\"1\" errors=\"1\" skipped=\"1\" time=\"0.007500\"";
        let name = "classname=\"cases/a.yaml\" name=\"a &lt;b&gt; &amp; &quot;c&quot;\" time=\"0.001500\" file=\"cases/a.yaml\"";
        assert_eq!(
            xml,
            format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>
<testsuites name=\"lictor\" {counts}>
  <testsuite name=\"cases/a.yaml\" {counts}>
    <testcase {name} line=\"1\"/>
    <testcase {name} line=\"2\">
      <skipped message=\"because\"/>
    </testcase>
    <testcase {name} line=\"3\">
      <system-out>x:1: &lt;y&gt;</system-out>
    </testcase>
    <testcase {name} line=\"4\">
      <failure message=\"because\" type=\"failure\">  because&#10;</failure>
    </testcase>
    <testcase {name} line=\"5\">
      <error message=\"because\" type=\"error\">  because&#10;</error>
    </testcase>
  </testsuite>
</testsuites>
"
            )
        );
        assert_eq!(escape("\u{1}\n"), "\\u{1}&#10;");
    }
}
