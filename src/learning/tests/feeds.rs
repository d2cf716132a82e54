//! Feeds: generated ones, those of the documentation of public ones, and what looks like one.

use super::*;

/// Channels of a generated feed.
const CHANNELS: usize = 10;

impl Talk {
    /// The wall clock when the next message passes, in nanoseconds since 1970.
    fn now_ns(&self) -> i64 {
        BEGAN_NS + (self.at_ns + MILLISECOND_NS) as i64
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.now_ns() / 1_000_000
    }

    fn wait_ms(&mut self, ms: u64) {
        self.at_ns += ms * MILLISECOND_NS;
    }

    /// What is learned of feeds where there are no ids.
    #[track_caller]
    fn feed(&self) -> Learned {
        let learned = self.learned();
        assert!(learned.ids.is_empty() && learned.without_ids.is_some(), "{learned:#?}");
        learned
    }

    /// Nothing is.
    #[track_caller]
    fn no_feed(&self, what: &str) {
        if let Verdict::Learned(learned) = self.verdict() {
            assert!(learned.feeds.is_empty(), "{what}: {learned:#?}");
        }
    }
}

/// Path of time and number, and of what is around it, of the only rule.
#[track_caller]
fn places(learned: &Learned) -> (Option<&str>, Option<&str>, Vec<&str>) {
    let [feed] = &*learned.feeds else { panic!("{learned:#?}") };
    let channel = feed.channel.iter().map(String::as_str).collect();
    (feed.time.as_deref(), feed.number.as_deref(), channel)
}

#[test]
fn time_number_and_channel_are_learned_with_their_faults() {
    let forms: [(&str, &dyn Fn(i64) -> String); 6] = [
        ("ms", &|ns| (ns / 1_000_000).to_string()),
        ("us", &|ns| (ns / 1_000).to_string()),
        ("ns", &|ns| ns.to_string()),
        ("s with a fraction", &|ns| {
            format!("{}.{:03}", ns / 1_000_000_000, ns / 1_000_000 % 1_000)
        }),
        ("in quotes", &|ns| format!("\"{}\"", ns / 1_000_000)),
        ("RFC 3339", &|ns| {
            format!("\"{}\"", jiff::Timestamp::from_nanosecond(ns.into()).expect("of our days"))
        }),
    ];
    for (form, write) in forms {
        let mut talk = Talk::new();
        let mut numbers: [u64; CHANNELS] = std::array::from_fn(|it| 1_000 * it as u64);
        for tick in 0..2_000 {
            let channel = talk.random(CHANNELS as u64) as usize;
            // Every hundredth message two numbers are left out.
            numbers[channel] += if tick % 100 == 99 { 3 } else { 1 };
            let (at, price) = (write(talk.now_ns() - 5_000_000), talk.random(1 << 20));
            let number = numbers[channel];
            talk.tell(
                0,
                &format!(
                    r#"{{"e":"tick","E":{at},"s":"SYM{channel}","a":{number},"px":{price},"m":{}}}"#,
                    price % 2 == 0
                ),
            );
        }
        let learned = talk.feed();
        assert_eq!(places(&learned), (Some("$.E"), Some("$.a"), vec!["$.s"]), "{form}");
        let feed = &learned.evidence.feed;
        assert_eq!((feed.numbered, feed.channels, feed.missing, feed.holes), (2_000, 10, 40, 20));
        assert_eq!((feed.timed, feed.untimed, feed.repeated + feed.backward), (2_000, 0, 0));
        let [least, median, _, most] = feed.lags_ns;
        let is_right = |lag: i64| (5_000_000..6_100_000).contains(&lag);
        assert!([least, median, most].into_iter().all(is_right), "{form}: {:?}", feed.lags_ns);
    }
}

#[test]
fn a_message_that_covers_several_numbers_names_the_first() {
    let mut talk = Talk::new();
    let mut last = 1_000;
    for _ in 0..200 {
        let (first, at) = (last + 1, talk.now_ms());
        last += 1 + talk.random(5);
        talk.tell(0, &format!(r#"{{"ts":{at},"U":{first},"u":{last},"book":"BTC"}}"#));
    }
    let learned = talk.feed();
    assert_eq!(places(&learned), (Some("$.ts"), Some("$.u"), vec![]));
    assert_eq!(learned.feeds[0].first.as_deref(), Some("$.U"));
    assert_eq!(learned.evidence.feed.missing, 0);
}

#[test]
fn a_message_that_names_the_one_before_it_does_so_in_the_rule() {
    let mut talk = Talk::new();
    let mut last = [7_000, 9_000];
    for _ in 0..300 {
        let channel = talk.random(2) as usize;
        let before = last[channel];
        last[channel] += 1 + talk.random(40);
        let now = last[channel];
        talk.tell(0, &format!(r#"{{"seqId":{now},"prevSeqId":{before},"instId":"I{channel}"}}"#));
    }
    let learned = talk.feed();
    assert_eq!(places(&learned), (None, Some("$.seqId"), vec!["$.instId"]));
    assert_eq!(learned.feeds[0].previous.as_deref(), Some("$.prevSeqId"));
}

#[test]
fn numbers_may_go_on_by_more_than_one() {
    let mut talk = Talk::new();
    (0..200).for_each(|tick| talk.tell(0, &format!(r#"{{"n":{},"v":{tick}.5}}"#, 500 + 10 * tick)));
    let learned = talk.feed();
    assert!(learned.toml.contains("step = 10"), "{}", learned.toml);
    assert_eq!(learned.evidence.feed.missing, 0);
}

#[test]
fn the_only_channel_that_was_seen_is_named_all_the_same() {
    let mut talk = Talk::new();
    for tick in 0..400 {
        let price = 10_000 + talk.random(50);
        talk.tell(0, &format!(r#"{{"s":"BTC","p":{price},"u":{tick}}}"#));
    }
    assert_eq!(places(&talk.feed()), (None, Some("$.u"), vec!["$.s"]));
}

#[test]
fn a_feed_beside_requests_leaves_them_as_they_are() {
    let mut alone = Talk::new();
    rpc(&mut alone, 40);
    let mut talk = Talk::new();
    for round in 0..40 {
        for conn in 0..2 {
            let (first, second) = (2 * round + 1, 2 * round + 2);
            let at = talk.now_ms();
            talk.ask(conn, &format!(r#"{{"id":{first},"method":"get","params":{{"key":"a"}}}}"#));
            talk.ask(conn, &format!(r#"{{"id":{second},"method":"put","params":{{"key":"b"}}}}"#));
            talk.tell(conn, &format!(r#"{{"event":"tick","at":{at},"no":{}}}"#, 70 + round));
            talk.tell(conn, &format!(r#"{{"id":{second},"result":true}}"#));
            talk.tell(conn, &format!(r#"{{"id":{first},"result":{{"value":{round}}}}}"#));
        }
    }
    let learned = talk.learned();
    assert_eq!((learned.evidence.requests, learned.evidence.answered), (160, 160));
    assert_eq!(places(&learned), (Some("$.at"), Some("$.no"), vec![]));
    assert_eq!(learned.evidence.feed.numbered, 80);
}

/// What it is, and how a message of it is written: see [`told`].
type Case<'a> = (&'a str, &'a dyn Fn(i64, i64, u64) -> String);

/// Rows of what comes in one direction, each as `write` has it: number of the message, time in
/// milliseconds, something random.
fn told(write: &dyn Fn(i64, i64, u64) -> String) -> Talk {
    let mut talk = Talk::new();
    for tick in 0..600 {
        let (now, random) = (talk.now_ms(), talk.random(1 << 30));
        talk.tell(0, &write(tick, now, random));
        talk.wait_ms(random % 40);
    }
    talk
}

#[test]
fn what_is_no_time_and_no_number_is_not_taken_for_one() {
    let cases: [Case<'_>; 12] = [
        ("a price", &|_, _, random| format!(r#"{{"price":{}}}"#, 10_000 + random % 9)),
        ("an id", &|_, _, random| format!(r#"{{"id":{random},"x":1}}"#)),
        ("a number", &|_, _, random| format!(r#"{{"a":{},"b":{random}}}"#, random % 100)),
        ("an id that rises", &|tick, _, random| {
            format!(r#"{{"id":{}}}"#, 1_000_000 + tick * 1_000 + (random % 900) as i64)
        }),
        ("a time of long ago, by the second", &|tick, _, _| {
            format!(r#"{{"t":{}}}"#, 1_514_764_800 + tick)
        }),
        ("a time of long ago, by the minute", &|tick, _, _| {
            format!(r#"{{"u":{}}}"#, 1_514_764_800_000 + 60_000 * tick)
        }),
        ("the beginning of a candle", &|tick, now, _| {
            format!(r#"{{"t":{},"i":{}}}"#, now / 1_000 * 1_000, tick / 50)
        }),
        ("when it expires", &|_, now, _| format!(r#"{{"expires":{}}}"#, now + 60_000)),
        ("when it began", &|_, _, _| format!(r#"{{"since":{}}}"#, BEGAN_NS / 1_000_000)),
        ("a sum", &|tick, _, random| {
            format!(r#"{{"sum":{}}}"#, tick * 500 + (random % 400) as i64)
        }),
        ("how long it has run", &|tick, _, _| format!(r#"{{"uptime":{tick}}}"#)),
        ("a heartbeat", &|tick, now, _| format!(r#"{{"op":"ping","ts":{now},"n":{tick}}}"#)),
    ];
    for (what, write) in cases {
        told(write).no_feed(what);
    }
}

#[test]
fn numbers_that_the_other_side_says_too_may_be_ids() {
    let mut talk = Talk::new();
    for number in 0..200 {
        talk.ask(0, &format!(r#"{{"seq":{number},"move":"left"}}"#));
        talk.tell(0, &format!(r#"{{"seq":{number},"state":"moved"}}"#));
    }
    talk.no_feed("an echo in order");
}

/// The messages of public feeds, by their documentation, as they come: of two channels, with `at` for
/// the time in milliseconds.
mod documented {
    use super::*;

    /// What one channel has sent so far.
    struct Book {
        name: &'static str,
        last: i64,
    }

    /// Messages of both channels, in no order.
    fn feed(write: &dyn Fn(&mut Talk, &mut Book, i64) -> String) -> Learned {
        let mut talk = Talk::new();
        let mut books =
            [Book { name: "BTCUSDT", last: 400_900_217 }, Book { name: "ETHUSDT", last: 7_123 }];
        for _ in 0..600 {
            let book = &mut books[talk.random(2) as usize];
            let at = talk.now_ms();
            let text = write(&mut talk, book, at);
            talk.tell(0, &text);
        }
        talk.feed()
    }

    #[test]
    fn binance_trades() {
        let learned = feed(&|talk, book, at| {
            book.last += 1;
            let (trade, price) = (talk.random(3), talk.random(99));
            format!(
                r#"{{"e":"aggTrade","E":{at},"s":"{}","a":{},"p":"0.0{price}","q":"100","f":{},"l":{},"T":{},"m":{},"M":true}}"#,
                book.name,
                book.last,
                3 * book.last,
                3 * book.last + trade as i64,
                at - 3,
                price > 50
            )
        });
        assert_eq!(places(&learned), (Some("$.E"), Some("$.a"), vec!["$.s"]));
    }

    /// All streams of two symbols on one connection: three of them have numbers of their own.
    #[test]
    fn binance_trades_books_candles_and_quotes() {
        let learned = feed(&|talk, book, at| {
            let (name, random) = (book.name, talk.random(1 << 30));
            match talk.random(5) {
                0 => {
                    // Of all that passes one in five is such a trade; each has its number.
                    book.last += 1;
                    let number = book.last;
                    format!(
                        r#"{{"e":"trade","E":{at},"s":"{name}","t":{number},"p":"1.5","T":{}}}"#,
                        at - 2
                    )
                }
                1 => format!(
                    r#"{{"e":"kline","E":{at},"s":"{name}","k":{{"t":{},"T":{},"i":"1m","f":{random},"n":{}}}}}"#,
                    at / 60_000 * 60_000,
                    at / 60_000 * 60_000 + 59_999,
                    random % 50
                ),
                2 => format!(
                    r#"{{"u":{},"s":"{name}","b":"25.35","B":"31.2","a":"25.36","A":"40.6"}}"#,
                    400_900_217 + at * 7 + (random % 7) as i64
                ),
                3 => format!(
                    r#"{{"e":"24hrTicker","E":{at},"s":"{name}","F":{random},"L":{random},"n":{}}}"#,
                    random % 1_000
                ),
                _ => format!(
                    r#"{{"e":"depthUpdate","E":{at},"s":"{name}","U":{},"u":{},"b":[],"a":[]}}"#,
                    at * 3,
                    at * 3 + 1
                ),
            }
        });
        let numbered: Vec<_> = learned.feeds.iter().filter(|it| it.number.is_some()).collect();
        let [trades] = &*numbered else { panic!("{learned:#?}") };
        assert_eq!(trades.number.as_deref(), Some("$.t"));
        assert!(learned.feeds.iter().all(|it| it.time.as_deref() == Some("$.E")), "{learned:#?}");
        assert_eq!(learned.evidence.feed.missing, 0);
    }

    /// Trades and books on one connection have numbers of their own.
    #[test]
    fn binance_trades_and_books() {
        let learned = feed(&|talk, book, at| {
            let name = book.name;
            if talk.random(2) == 0 {
                book.last += 1;
                let number = book.last;
                return format!(
                    r#"{{"stream":"{name}@trade","data":{{"e":"trade","E":{at},"s":"{name}","t":{number},"p":"0.001","q":"100","T":{},"m":true}}}}"#,
                    at - 2
                );
            }
            // Of the book, numbers that go with the clock will do.
            let number = at * 10;
            format!(
                r#"{{"stream":"{name}@depth","data":{{"e":"depthUpdate","E":{at},"s":"{name}","U":{number},"u":{},"b":[],"a":[]}}}}"#,
                number + 4
            )
        });
        let trades = learned.feeds.iter().find(|it| it.number.is_some()).expect("trades");
        assert_eq!(trades.number.as_deref(), Some("$.data.t"), "{learned:#?}");
        assert!(learned.feeds.iter().all(|it| it.time.as_deref() == Some("$.data.E")));
        assert_eq!(learned.evidence.feed.missing, 0);
    }

    #[test]
    fn binance_books() {
        let learned = feed(&|talk, book, at| {
            let first = book.last + 1;
            book.last += 1 + talk.random(6) as i64;
            format!(
                r#"{{"e":"depthUpdate","E":{at},"s":"{}","U":{first},"u":{},"b":[["0.0024","10"]],"a":[]}}"#,
                book.name, book.last
            )
        });
        assert_eq!(places(&learned), (Some("$.E"), Some("$.u"), vec!["$.s"]));
        assert_eq!(learned.feeds[0].first.as_deref(), Some("$.U"));
    }

    #[test]
    fn bybit_books() {
        let learned = feed(&|talk, book, at| {
            book.last += 1;
            let seq = book.last * 40 + talk.random(30) as i64;
            format!(
                r#"{{"topic":"orderbook.50.{0}","type":"delta","ts":{at},"data":{{"s":"{0}","b":[["30247.20","30.028"]],"a":[],"u":{1},"seq":{seq}}},"cts":{2}}}"#,
                book.name,
                book.last,
                at - 4
            )
        });
        assert_eq!(places(&learned), (Some("$.ts"), Some("$.data.u"), vec!["$.topic"]));
    }

    #[test]
    fn okx_books() {
        let learned = feed(&|talk, book, at| {
            let before = book.last;
            book.last += 1 + talk.random(50) as i64;
            format!(
                r#"{{"arg":{{"channel":"books","instId":"{}"}},"action":"update","data":[{{"asks":[["8476.98","415","0","13"]],"bids":[],"ts":"{at}","checksum":-{before},"prevSeqId":{before},"seqId":{}}}]}}"#,
                book.name, book.last
            )
        });
        assert_eq!(
            places(&learned),
            (Some("$.data[0].ts"), Some("$.data[0].seqId"), vec!["$.arg.instId"])
        );
        assert_eq!(learned.feeds[0].previous.as_deref(), Some("$.data[0].prevSeqId"));
    }

    #[test]
    fn kucoin_books() {
        let learned = feed(&|talk, book, at| {
            let first = book.last + 1;
            book.last += 1 + talk.random(4) as i64;
            format!(
                r#"{{"topic":"/market/level2:{0}","type":"message","subject":"trade.l2update","data":{{"changes":{{"asks":[["18906","0.00331","1"]],"bids":[]}},"sequenceEnd":{1},"sequenceStart":{first},"symbol":"{0}","time":{at}}}}}"#,
                book.name, book.last
            )
        });
        assert_eq!(
            places(&learned),
            (Some("$.data.time"), Some("$.data.sequenceEnd"), vec!["$.topic"])
        );
        assert_eq!(learned.feeds[0].first.as_deref(), Some("$.data.sequenceStart"));
    }

    #[test]
    fn deribit_books() {
        let learned = feed(&|talk, book, at| {
            let before = book.last;
            book.last += 1 + talk.random(9) as i64;
            format!(
                r#"{{"jsonrpc":"2.0","method":"subscription","params":{{"channel":"book.{0}.100ms","data":{{"type":"change","timestamp":{at},"prev_change_id":{before},"instrument_name":"{0}","change_id":{1},"bids":[],"asks":[]}}}}}}"#,
                book.name, book.last
            )
        });
        assert_eq!(
            places(&learned),
            (
                Some("$.params.data.timestamp"),
                Some("$.params.data.change_id"),
                vec!["$.params.channel"]
            )
        );
    }

    #[test]
    fn kraken_executions() {
        let learned = feed(&|talk, book, at| {
            book.last += 1;
            let date = jiff::Timestamp::from_millisecond(at).expect("of our days");
            format!(
                r#"{{"channel":"of {}","type":"update","data":[{{"order_id":"O{}","timestamp":"{date}"}}],"sequence":{}}}"#,
                book.name,
                talk.random(1 << 40),
                book.last
            )
        });
        assert_eq!(
            places(&learned),
            (Some("$.data[0].timestamp"), Some("$.sequence"), vec!["$.channel"])
        );
    }
}
