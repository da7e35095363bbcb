//! What a model's tokens cost, in whole millionths of a US dollar.

use crate::registry::Prices;

/// Prices are for so many tokens.
const PRICED_TOKENS: u128 = 1_000_000;

/// Tokens of one call, each counted once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tokens {
    /// Sent and read anew.
    pub input: u64,
    /// Sent and found in the provider's cache.
    pub cached: u64,
    /// That came back.
    pub output: u64,
    /// Of hidden reasoning.
    pub reasoning: u64,
}

impl Tokens {
    /// Before a call nobody knows what is cached, or how much of the answer is reasoning.
    #[must_use]
    pub fn estimated(input: u64, output: u64) -> Self {
        Self { input, output, ..Self::default() }
    }

    /// What a provider reports: `input` with what was cached, `output` with the reasoning. A part
    /// that is more than its whole is cut to it.
    #[must_use]
    pub fn reported(input: u64, cached: u64, output: u64, reasoning: u64) -> Self {
        let (cached, reasoning) = (cached.min(input), reasoning.min(output));
        Self { input: input - cached, cached, output: output - reasoning, reasoning }
    }
}

/// What `tokens` cost, rounded up. A price of cached or reasoning tokens that the registry leaves
/// out is that of the tokens that they are among.
#[must_use]
pub fn usd_micros(prices: &Prices, tokens: Tokens) -> u64 {
    let or = |own: u64, other: u64| if own == 0 { other } else { own };
    let (input, output) = (prices.input_usd_micros_per_mtok, prices.output_usd_micros_per_mtok);
    let parts = [
        (tokens.input, input),
        (tokens.cached, or(prices.cached_usd_micros_per_mtok, input)),
        (tokens.output, output),
        (tokens.reasoning, or(prices.reasoning_usd_micros_per_mtok, output)),
    ];
    let sum = parts.iter().fold(0u128, |sum, (count, price)| {
        sum.saturating_add(u128::from(*count).saturating_mul(u128::from(*price)))
    });
    u64::try_from(sum.div_ceil(PRICED_TOKENS)).unwrap_or(u64::MAX)
}

/// The most that `tokens` can come to, whichever kind they turn out to be: what a reservation
/// must hold so that the settlement does not exceed it.
#[must_use]
pub fn most_usd_micros(prices: &Prices, tokens: Tokens) -> u64 {
    let input = prices.input_usd_micros_per_mtok.max(prices.cached_usd_micros_per_mtok);
    let output = prices.output_usd_micros_per_mtok.max(prices.reasoning_usd_micros_per_mtok);
    let dearest = Prices {
        input_usd_micros_per_mtok: input,
        cached_usd_micros_per_mtok: input,
        output_usd_micros_per_mtok: output,
        reasoning_usd_micros_per_mtok: output,
    };
    usd_micros(&dearest, tokens)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PRICES: Prices = Prices {
        input_usd_micros_per_mtok: 2_500_000,
        output_usd_micros_per_mtok: 10_000_000,
        cached_usd_micros_per_mtok: 1_250_000,
        reasoning_usd_micros_per_mtok: 0,
    };

    #[test]
    fn each_kind_of_token_has_its_price() {
        let tokens = Tokens::reported(1_000, 400, 200, 150);
        assert_eq!(tokens, Tokens { input: 600, cached: 400, output: 50, reasoning: 150 });
        assert_eq!(usd_micros(&PRICES, tokens), 1_500 + 500 + 500 + 1_500);
    }

    #[test]
    fn a_fraction_is_rounded_up_once() {
        assert_eq!(usd_micros(&PRICES, Tokens::estimated(1, 0)), 3);
        assert_eq!(usd_micros(&PRICES, Tokens::estimated(2, 0)), 5);
        assert_eq!(usd_micros(&PRICES, Tokens::default()), 0);
        assert_eq!(usd_micros(&PRICES, Tokens::estimated(u64::MAX, u64::MAX)), u64::MAX);
    }

    proptest! {
        #[test]
        fn a_reservation_covers_every_split_of_its_tokens(
            input in 0..1u64 << 40, cached in 0..1u64 << 40, output in 0..1u64 << 40,
            reasoning in 0..1u64 << 40, prices in prop::array::uniform4(0..1u64 << 30),
        ) {
            let [a, b, c, d] = prices;
            let prices = Prices {
                input_usd_micros_per_mtok: a,
                output_usd_micros_per_mtok: b,
                cached_usd_micros_per_mtok: c,
                reasoning_usd_micros_per_mtok: d,
            };
            let most = most_usd_micros(&prices, Tokens::estimated(input, output));
            let used = usd_micros(&prices, Tokens::reported(input, cached, output, reasoning));
            prop_assert!(used <= most, "{used} > {most}");
        }
    }
}
