//! Amounts of money as text.
//!
//! Owns currencies' symbols and minor units, and exact decimal arithmetic on digits. Refuses
//! floating-point fractions and rounding: what does not fit is an error.

/// Currencies written with a symbol.
const SYMBOLS: [(&str, &str); 12] = [
    ("EUR", "€"),
    ("USD", "$"),
    ("GBP", "£"),
    ("JPY", "¥"),
    ("INR", "₹"),
    ("KRW", "₩"),
    ("ILS", "₪"),
    ("TRY", "₺"),
    ("UAH", "₴"),
    ("VND", "₫"),
    ("NGN", "₦"),
    ("PHP", "₱"),
];

/// Currencies whose minor unit is not a hundredth (ISO 4217): without one, and thousandths.
const WHOLE: [&str; 16] = [
    "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF",
    "XPF",
];
const THOUSANDTHS: [&str; 7] = ["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"];

/// Whether an amount counts minor units (cents) or major ones (euros).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Minor,
    Major,
}

/// Prints `amount`, decimal digits with an optional sign and fraction: `€1,234.50`, `-CHF 12.00`, `¥1,200`.
pub(super) fn money(amount: &str, currency: &str, unit: Unit) -> Result<String, String> {
    if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Err(format!("`{currency}` is not a currency: three capital letters such as `EUR` are"));
    }
    let places = match currency {
        _ if WHOLE.contains(&currency) => 0,
        _ if THOUSANDTHS.contains(&currency) => 3,
        _ => 2,
    };
    let (sign, digits) = match amount.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", amount),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || digits.ends_with('.') || !is_digits(whole) || !is_digits(fraction) {
        return Err(format!("`{amount}` is not an amount of money: a decimal number such as `1250` is"));
    }
    let fraction = fraction.trim_end_matches('0');
    let kept = if unit == Unit::Major { places } else { 0 };
    if fraction.len() > kept {
        let smallest =
            if unit == Unit::Major { "more digits than" } else { "a fraction of the minor unit of" };
        return Err(format!("`{amount}` has {smallest} {currency}: round it in the query"));
    }
    // All digits in minor units, with at least one digit before the point.
    let minor = match unit {
        Unit::Major => format!("{whole}{fraction:0<places$}"),
        Unit::Minor => whole.to_owned(),
    };
    let minor = format!("{:0>width$}", minor.trim_start_matches('0'), width = places + 1);
    let (major, minor) = minor.split_at(minor.len() - places);
    let sign = if major == "0" && minor.bytes().all(|byte| byte == b'0') { "" } else { sign };
    let symbol = SYMBOLS.iter().find(|(code, _)| *code == currency).map(|(_, symbol)| *symbol);
    let point = if places == 0 { "" } else { "." };
    let major = grouped(major);
    Ok(match symbol {
        Some(symbol) => format!("{sign}{symbol}{major}{point}{minor}"),
        None => format!("{sign}{currency} {major}{point}{minor}"),
    })
}

/// Digits with a comma before each group of three.
fn grouped(digits: &str) -> String {
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_print_exactly() {
        for (amount, currency, unit, text) in [
            ("123450", "EUR", Unit::Minor, "€1,234.50"),
            ("1200", "USD", Unit::Minor, "$12.00"),
            ("1200", "JPY", Unit::Minor, "¥1,200"),
            ("1200", "CHF", Unit::Minor, "CHF 12.00"),
            ("-100", "EUR", Unit::Minor, "-€1.00"),
            ("-100", "CHF", Unit::Minor, "-CHF 1.00"),
            ("0", "EUR", Unit::Minor, "€0.00"),
            ("-0", "EUR", Unit::Minor, "€0.00"),
            ("5", "EUR", Unit::Minor, "€0.05"),
            ("007", "EUR", Unit::Minor, "€0.07"),
            ("1250.00", "EUR", Unit::Minor, "€12.50"),
            ("1234567", "KWD", Unit::Minor, "KWD 1,234.567"),
            ("99999999999999999999", "USD", Unit::Minor, "$999,999,999,999,999,999.99"),
            ("1234.5", "EUR", Unit::Major, "€1,234.50"),
            ("1234", "EUR", Unit::Major, "€1,234.00"),
            ("9.9900", "EUR", Unit::Major, "€9.99"),
            ("0.05", "EUR", Unit::Major, "€0.05"),
            ("1200", "JPY", Unit::Major, "¥1,200"),
        ] {
            assert_eq!(money(amount, currency, unit).as_deref(), Ok(text), "{amount} {currency}");
        }
    }

    #[test]
    fn what_is_not_exactly_an_amount_is_refused() {
        for (amount, currency, unit) in [
            ("", "EUR", Unit::Minor),
            ("-", "EUR", Unit::Minor),
            ("1.", "EUR", Unit::Minor),
            (".5", "EUR", Unit::Minor),
            ("1e3", "EUR", Unit::Minor),
            ("1,000", "EUR", Unit::Minor),
            ("12.5", "EUR", Unit::Minor),
            ("1.005", "EUR", Unit::Major),
            ("1", "eur", Unit::Minor),
            ("1", "€", Unit::Minor),
            ("1", "EURO", Unit::Minor),
        ] {
            assert!(money(amount, currency, unit).is_err(), "{amount} {currency}");
        }
    }
}
