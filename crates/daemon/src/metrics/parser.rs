//! A strict reader of the text format, for tests: what Prometheus would pass over is an error here.

use std::collections::BTreeMap;

/// One metric with its samples.
#[derive(Debug)]
pub(crate) struct Family {
    pub(crate) kind: String,
    pub(crate) samples: Vec<Sample>,
}

/// One sample.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

/// Reads all of it, or says in which line what is wrong.
pub(crate) fn parse(text: &str) -> Result<BTreeMap<String, Family>, String> {
    if !text.ends_with('\n') {
        return Err("the last line does not end".to_owned());
    }
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut helped: Option<String> = None;
    let mut current: Option<String> = None;
    for line in text.lines() {
        let wrong = |what: &str| format!("{what}: {line}");
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').ok_or_else(|| wrong("no help"))?;
            if !is_name(name) || help.is_empty() || families.contains_key(name) || helped.is_some() {
                return Err(wrong("a bad HELP line"));
            }
            helped = Some(name.to_owned());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or_else(|| wrong("no type"))?;
            if helped.take().as_deref() != Some(name) || !matches!(kind, "counter" | "gauge" | "histogram") {
                return Err(wrong("a bad TYPE line"));
            }
            families.insert(name.to_owned(), Family { kind: kind.to_owned(), samples: Vec::new() });
            current = Some(name.to_owned());
        } else {
            let sample = sample(line).ok_or_else(|| wrong("no sample"))?;
            let name = current.as_deref().ok_or_else(|| wrong("no metric before it"))?;
            let family = families.get_mut(name).ok_or_else(|| wrong("no metric before it"))?;
            let suffix = sample.name.strip_prefix(name).ok_or_else(|| wrong("another metric's sample"))?;
            let fits = match family.kind.as_str() {
                "histogram" => matches!(suffix, "_bucket" | "_sum" | "_count"),
                _ => suffix.is_empty(),
            };
            let same = |other: &Sample| other.name == sample.name && other.labels == sample.labels;
            if !fits || family.samples.iter().any(same) {
                return Err(wrong("a bad sample"));
            }
            if family.kind == "counter" && sample.value < 0.0 {
                return Err(wrong("a counter below 0"));
            }
            family.samples.push(sample);
        }
    }
    for (name, family) in families.iter().filter(|(_, family)| family.kind == "histogram") {
        whole(name, family)?;
    }
    Ok(families)
}

/// Buckets of a histogram only grow, end with +Inf, and agree with the count.
fn whole(name: &str, family: &Family) -> Result<(), String> {
    let mut buckets: BTreeMap<BTreeMap<String, String>, Vec<(f64, f64)>> = BTreeMap::new();
    for sample in family.samples.iter().filter(|sample| sample.name.ends_with("_bucket")) {
        let mut labels = sample.labels.clone();
        let bound = labels.remove("le").ok_or_else(|| format!("{name}: a bucket without le"))?;
        let bound =
            if bound == "+Inf" { f64::INFINITY } else { bound.parse().map_err(|_| format!("{name}: le {bound}"))? };
        buckets.entry(labels).or_default().push((bound, sample.value));
    }
    for (labels, buckets) in buckets {
        if !buckets.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 <= two[1].1) {
            return Err(format!("{name}: buckets do not grow"));
        }
        let of = |suffix: &str| {
            let mut samples = family.samples.iter();
            samples.find(|sample| sample.name == format!("{name}{suffix}") && sample.labels == labels)
        };
        let last = buckets.last().copied();
        if of("_sum").is_none() || last != of("_count").map(|count| (f64::INFINITY, count.value)) {
            return Err(format!("{name}: buckets, sum and count do not agree"));
        }
    }
    Ok(())
}

fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            if !is_name(label) || labels.insert(label.to_owned(), value).is_some() {
                return None;
            }
            match after.strip_prefix(',') {
                Some(next) => rest = next,
                None => {
                    rest = after.strip_prefix('}')?;
                    break;
                }
            }
        }
    }
    let value = rest.strip_prefix(' ')?;
    let value = value.parse().ok().filter(|_| !value.contains(' '))?;
    is_name(name).then(|| Sample { name: name.to_owned(), labels, value })
}

/// The text up to the closing quote, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                c @ ('\\' | '"') => value.push(c),
                _ => return None,
            },
            c => value.push(c),
        }
    }
    None
}

fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(fits)
}

#[test]
fn what_is_not_strictly_right_is_refused() {
    let good = "# HELP a b c\n# TYPE a gauge\na{x=\"1\\\\\\\"\\n\"} 1e-3\na 2\n";
    let parsed = parse(good).unwrap();
    assert_eq!(parsed["a"].samples[0].labels["x"], "1\\\"\n");
    for bad in [
        "# HELP a b\n# TYPE a gauge\na 1",
        "# TYPE a gauge\na 1\n",
        "# HELP a b\n# TYPE a summary\na 1\n",
        "a 1\n",
        "# HELP a b\n# TYPE a gauge\nb 1\n",
        "# HELP a b\n# TYPE a gauge\na 1\na 2\n",
        "# HELP a b\n# TYPE a gauge\na{x=1} 1\n",
        "# HELP a b\n# TYPE a gauge\na x\n",
        "# HELP a b\n# TYPE a counter\na -1\n",
        "# HELP a b\n# TYPE a histogram\na_bucket{le=\"1\"} 2\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 1\n",
        "# HELP a b\n# TYPE a histogram\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 2\n",
        "\n",
    ] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}
