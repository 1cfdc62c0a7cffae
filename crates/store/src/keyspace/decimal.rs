//! Exact sums of decimal numbers, for `INCRBYFLOAT` and `HINCRBYFLOAT`.
//!
//! Redis adds with 80-bit floats and shows 17 decimals; what rounding leaves there depends on the
//! processor (300 + 0.1 is 300.10000000000000001 on x86). Servers of a cluster must agree, so sums
//! of ordinary numbers are exact decimal arithmetic here (300.1), and only numbers beyond it fall
//! back to 64-bit floats.

use super::parse::{Refusal, float, refuse};

/// Digits behind the point, as many as Redis shows.
const PLACES: u32 = 17;

/// Numbers of this magnitude and above are added as floats.
const EXACT_MAX: i128 = 10_i128.pow(37);

/// Adds two numbers given as text; `wrong` says that the first is none.
pub fn add(old: &[u8], amount: &[u8], wrong: Refusal) -> Result<String, Refusal> {
    let old_float = float(old, wrong)?;
    let amount_float = float(amount, super::parse::NOT_A_FLOAT)?;
    if let (Some(old), Some(amount)) = (scaled(old), scaled(amount)) {
        return Ok(shown(old + amount));
    }
    let sum = old_float + amount_float;
    if sum.is_finite() {
        Ok(format!("{sum}"))
    } else {
        Err(refuse("ERR increment would produce NaN or Infinity"))
    }
}

/// A decimal number times ten to the power of [`PLACES`], when that is exact enough.
fn scaled(text: &[u8]) -> Option<i128> {
    let text = std::str::from_utf8(text).ok()?;
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], text[at + 1..].parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (negative, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut number: i128 = 0;
    for digit in whole.bytes().chain(part.bytes()) {
        let digit = i128::from(digit.is_ascii_digit().then(|| digit - b'0')?);
        number = number.checked_mul(10)?.checked_add(digit)?;
    }
    let places = i32::try_from(part.len()).ok()?;
    let power = exponent
        .checked_sub(places)?
        .checked_add(PLACES.cast_signed())?;
    let factor = 10_i128.checked_pow(power.unsigned_abs().min(38));
    let number = if power >= 0 {
        number.checked_mul(factor?)?
    } else {
        let factor = factor.unwrap_or(i128::MAX);
        (number + factor / 2) / factor
    };
    let number = if negative { -number } else { number };
    (number.abs() < EXACT_MAX).then_some(number)
}

fn shown(number: i128) -> String {
    let scale = 10_u128.pow(PLACES);
    let magnitude = number.unsigned_abs();
    let sign = if number < 0 { "-" } else { "" };
    let text = format!("{sign}{}.{:017}", magnitude / scale, magnitude % scale);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_exact_and_shown_without_an_exponent() {
        for (old, amount, sum) in [
            ("0.1", "0.2", "0.3"),
            ("10.50", "0.1", "10.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("-1", "1", "0"),
            ("3", "-5.25", "-2.25"),
            (".5", "5.", "5.5"),
            ("1e30", "1e30", "2000000000000000000000000000000"),
            ("1e-20", "0", "0"),
        ] {
            let found = add(old.as_bytes(), amount.as_bytes(), refuse("ERR"));
            assert_eq!(found.as_deref(), Ok(sum), "{old} + {amount}");
        }
        assert!(add(b"inf", b"1", refuse("ERR")).is_err());
        assert!(add(b"1", b"nan", refuse("ERR")).is_err());
        assert_eq!(add(b"x", b"1", refuse("ERR old")), Err(refuse("ERR old")));
    }
}
