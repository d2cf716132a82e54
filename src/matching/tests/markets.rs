//! Documented messages of public feeds, in the order in which they come: fields found, numbers right
//! over snapshots and losses.

use super::*;
use crate::observation::{OwnTime, SequenceStep, SequenceStep::*};

/// What each message of one connection says: its own time in milliseconds, and its number.
fn said(name: &str, messages: &[&str]) -> Vec<(Option<i64>, Option<SequenceStep>)> {
    let mut tap = Tap::forced(name);
    let mut said = Vec::new();
    for text in messages {
        tap.at.at_ns += MILLISECOND_NS;
        tap.text(Direction::Received, text, &mut |it| {
            let What::Message { reading, .. } = &it.what else { return };
            let Some(feed) = reading.feed else { return said.push((None, None)) };
            let time = match feed.time {
                OwnTime::At(ns) => Some(ns / 1_000_000),
                OwnTime::Unstated => None,
                OwnTime::Unreadable => panic!("{text}"),
            };
            said.push((time, feed.sequence));
        });
    }
    said
}

#[test]
fn binance_updates_of_a_book_and_trades_are_two_sequences() {
    let depth = |first: i64, last: i64| {
        format!(
            r#"{{"e":"depthUpdate","E":1672515782136,"s":"BNBBTC","U":{first},"u":{last},"b":[["0.0024","10"]],"a":[]}}"#
        )
    };
    let trade = |a: i64| {
        format!(
            r#"{{"e":"aggTrade","E":1672515782136,"s":"BNBBTC","a":{a},"p":"0.001","q":"100","f":100,"l":105,"T":1672515782130,"m":true}}"#
        )
    };
    let texts = [
        depth(157, 160),
        trade(12_345),
        depth(161, 162),
        trade(12_346),
        trade(12_349),
        depth(170, 171),
    ];
    let steps = [Begun, Begun, InOrder, InOrder, Missing(2), Missing(7)];
    let expected: Vec<_> = steps.map(|step| (Some(1_672_515_782_136), Some(step))).into();
    assert_eq!(said("binance", &texts.each_ref().map(String::as_str)), expected);
}

#[test]
fn binance_futures_name_the_update_before() {
    let depth = |first: i64, last: i64, before: i64| {
        format!(
            r#"{{"stream":"btcusdt@depth","data":{{"e":"depthUpdate","E":1571889248277,"T":1571889248276,"s":"BTCUSDT","U":{first},"u":{last},"pu":{before},"b":[["7403.89","0.002"]],"a":[]}}}}"#
        )
    };
    let texts = [
        depth(390497796, 390497878, 390497794),
        depth(390497881, 390497890, 390497878),
        depth(390497900, 390497910, 390497895),
    ];
    let steps = [Begun, InOrder, Missing(1)].map(|step| (Some(1_571_889_248_277), Some(step)));
    assert_eq!(said("binance", &texts.each_ref().map(String::as_str)), steps);
}

#[test]
fn a_snapshot_of_bybit_begins_a_book_anew() {
    let book = |kind: &str, u: i64| {
        format!(
            r#"{{"topic":"orderbook.50.BTCUSDT","type":"{kind}","ts":1687940967466,"data":{{"s":"BTCUSDT","b":[["30247.20","30.028"]],"a":[],"u":{u},"seq":66544703342}},"cts":1687940967464}}"#
        )
    };
    let texts = [
        book("snapshot", 177_400_507),
        book("delta", 177_400_508),
        book("delta", 177_400_510),
        book("snapshot", 1),
        book("delta", 2),
    ];
    let steps = [Begun, InOrder, Missing(1), Reset, InOrder];
    assert_eq!(
        said("bybit", &texts.each_ref().map(String::as_str)),
        steps.map(|step| (Some(1_687_940_967_466), Some(step)))
    );
    let ticker = r#"{"topic":"tickers.BTCUSDT","type":"snapshot","data":{"symbol":"BTCUSDT","lastPrice":"1"},"cs":2480006,"ts":1673853746003}"#;
    assert_eq!(said("bybit", &[ticker]), [(Some(1_673_853_746_003), None)]);
    let top = r#"{"topic":"orderbook.1.BTCUSDT","type":"snapshot","ts":1672304484978,"data":{"s":"BTCUSDT","b":[],"a":[],"u":18521288,"seq":7961638724}}"#;
    assert_eq!(said("bybit", &[top, top]), [(Some(1_672_304_484_978), None); 2]);
}

#[test]
fn okx_chains_its_books_and_may_begin_with_a_lower_number() {
    let book = |action: &str, before: i64, last: i64| {
        format!(
            r#"{{"arg":{{"channel":"books","instId":"BTC-USDT"}},"action":"{action}","data":[{{"asks":[["8476.98","415","0","13"]],"bids":[],"ts":"1597026383085","checksum":-855196043,"prevSeqId":{before},"seqId":{last}}}]}}"#
        )
    };
    let texts = [
        book("snapshot", -1, 10),
        book("update", 10, 15),
        book("update", 15, 15),
        book("update", 15, 3),
        book("update", 3, 5),
        book("update", 7, 9),
        book("snapshot", -1, 4),
    ];
    let steps = [Begun, InOrder, InOrder, InOrder, InOrder, Missing(1), Reset];
    assert_eq!(
        said("okx", &texts.each_ref().map(String::as_str)),
        steps.map(|step| (Some(1_597_026_383_085), Some(step)))
    );
}

#[test]
fn kraken_numbers_what_concerns_the_account_and_beats_where_nothing_passes() {
    let executions = |kind: &str, n: i64| {
        format!(
            r#"{{"channel":"executions","type":"{kind}","data":[{{"order_id":"OK4GJX-KSTLS-7DZZO5","timestamp":"2023-09-22T10:33:05.709982Z"}}],"sequence":{n}}}"#
        )
    };
    let (snapshot, update, later) =
        (executions("snapshot", 1), executions("update", 2), executions("update", 4));
    let at = Some(1_695_378_785_709);
    let beat = r#"{"channel":"heartbeat"}"#;
    let book = r#"{"channel":"book","type":"update","data":[{"symbol":"MATIC/USD","bids":[{"price":0.5657,"qty":1098.3947558}],"asks":[],"checksum":2114181697,"timestamp":"2023-10-06T17:35:55.440295Z"}]}"#;
    assert_eq!(
        said("kraken", &[&snapshot, &update, beat, &later, book]),
        [
            (at, Some(Begun)),
            (at, Some(InOrder)),
            (None, None),
            (at, Some(Missing(1))),
            (Some(1_696_613_755_440), None),
        ]
    );
}

#[test]
fn kucoin_and_gateio_cover_numbers_from_one_to_another() {
    let kucoin = |from: i64, to: i64| {
        format!(
            r#"{{"topic":"/market/level2:BTC-USDT","type":"message","subject":"trade.l2update","data":{{"changes":{{"asks":[["18906","0.00331","14103845"]],"bids":[]}},"sequenceEnd":{to},"sequenceStart":{from},"symbol":"BTC-USDT","time":1663747970273}}}}"#
        )
    };
    let texts = [
        kucoin(14_103_844, 14_103_845),
        kucoin(14_103_846, 14_103_846),
        kucoin(14_103_850, 14_103_851),
    ];
    let steps = [Begun, InOrder, Missing(3)].map(|step| (Some(1_663_747_970_273), Some(step)));
    assert_eq!(said("kucoin", &texts.each_ref().map(String::as_str)), steps);
    let gateio = |from: i64, to: i64| {
        format!(
            r#"{{"time":1606294781,"time_ms":1606294781236,"channel":"spot.order_book_update","event":"update","result":{{"t":1606294781123,"e":"depthUpdate","E":1606294781,"s":"BTC_USDT","U":{from},"u":{to},"b":[],"a":[]}}}}"#
        )
    };
    let texts = [gateio(48_776_301, 48_776_306), gateio(48_776_307, 48_776_310)];
    let steps = [Begun, InOrder].map(|step| (Some(1_606_294_781_123), Some(step)));
    assert_eq!(said("gateio", &texts.each_ref().map(String::as_str)), steps);
}

#[test]
fn deribit_chains_its_books_from_a_snapshot_on() {
    let book = |data: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","method":"subscription","params":{{"channel":"book.BTC-PERPETUAL.100ms","data":{{"timestamp":1554373962454,"instrument_name":"BTC-PERPETUAL",{data},"bids":[],"asks":[]}}}}}}"#
        )
    };
    let texts = [
        book(r#""type":"snapshot","change_id":297217"#),
        book(r#""type":"change","prev_change_id":297217,"change_id":297218"#),
        book(r#""type":"change","prev_change_id":297230,"change_id":297231"#),
        book(r#""type":"snapshot","change_id":297240"#),
        book(r#""type":"change","prev_change_id":297240,"change_id":297243"#),
    ];
    let steps = [Begun, InOrder, Missing(1), Reset, InOrder];
    assert_eq!(
        said("deribit", &texts.each_ref().map(String::as_str)),
        steps.map(|step| (Some(1_554_373_962_454), Some(step)))
    );
    let beat = r#"{"jsonrpc":"2.0","method":"heartbeat","params":{"type":"heartbeat"}}"#;
    assert_eq!(said("deribit", &[beat]), [(None, None)]);
}

#[test]
fn bitfinex_trades_have_a_time_and_its_heartbeats_have_not() {
    let messages = [r#"[17470,"te",[401597395,1574694478808,0.005,7245.3]]"#, r#"[17470,"hb"]"#];
    assert_eq!(said("bitfinex", &messages), [(Some(1_574_694_478_808), None), (None, None)]);
}
