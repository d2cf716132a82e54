// A server of WebSockets over HTTP/2 (RFC 8441) with Go's own net/http, as that of node/http2/peer.js. It
// takes extended CONNECT where GODEBUG has http2xconnect=1; the client of net/http sends none.
package main

import (
	"bufio"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sort"
	"strings"
	"sync"
	"time"
)

var (
	certificate = flag.String("certificate", "", "")
	key         = flag.String("key", "", "")
	logFile     = flag.String("log", "", "")
)

// What only clients are told.
var (
	_ = flag.Int("streams", 5, "")
	_ = flag.Int("requests", 20, "on each stream")
	_ = flag.Int("size", 10, "bytes in each request")
	_ = flag.Int("pages", 0, "ordinary requests between")
)

// Everything below the lock is shared by the streams.
var (
	lock        sync.Mutex
	log         *bufio.Writer
	connections int
	timesNs     []int64
)

func record(connection int, direction string, message []byte) {
	lock.Lock()
	defer lock.Unlock()
	data := base64.StdEncoding.EncodeToString(message)
	fmt.Fprintf(log, "%d %s text %s\n", connection, direction, data)
}

func took(began time.Time) {
	lock.Lock()
	defer lock.Unlock()
	timesNs = append(timesNs, time.Since(began).Nanoseconds())
}

func summary() {
	lock.Lock()
	defer lock.Unlock()
	log.Flush()
	sort.Slice(timesNs, func(a, b int) bool { return timesNs[a] < timesNs[b] })
	var median int64
	if len(timesNs) > 0 {
		median = timesNs[len(timesNs)/2]
	}
	fmt.Printf("{\"requests\":%d,\"median_ns\":%d}\n", len(timesNs), median)
}

const (
	text      = 0x81
	closeByte = 0x88
)

// A whole frame (RFC 6455, section 5.2).
func frame(first byte, payload []byte) []byte {
	header := []byte{first, 0}
	switch {
	case len(payload) < 126:
		header[1] = byte(len(payload))
	case len(payload) < 1<<16:
		header[1] = 126
		header = binary.BigEndian.AppendUint16(header, uint16(len(payload)))
	default:
		header[1] = 127
		header = binary.BigEndian.AppendUint64(header, uint64(len(payload)))
	}
	return append(header, payload...)
}

func read(from *bufio.Reader) (first byte, payload []byte, err error) {
	var header [2]byte
	if _, err = io.ReadFull(from, header[:]); err != nil {
		return
	}
	length := uint64(header[1] & 0x7f)
	long := make([]byte, map[uint64]int{126: 2, 127: 8}[length])
	if _, err = io.ReadFull(from, long); err != nil {
		return
	}
	if len(long) > 0 {
		length = 0
		for _, b := range long {
			length = length<<8 | uint64(b)
		}
	}
	mask := make([]byte, int(header[1]>>7)*4)
	if _, err = io.ReadFull(from, mask); err != nil {
		return
	}
	payload = make([]byte, length)
	_, err = io.ReadFull(from, payload)
	for i := range payload {
		if len(mask) > 0 {
			payload[i] ^= mask[i%4]
		}
	}
	return header[0], payload, err
}

type call struct {
	ID     int            `json:"id"`
	Params map[string]any `json:"params"`
}

type reply struct {
	JSONRPC string `json:"jsonrpc"`
	ID      int    `json:"id"`
	Result  any    `json:"result"`
}

func handle(response http.ResponseWriter, asked *http.Request) {
	if asked.Method != "CONNECT" || asked.Header.Get(":protocol") != "websocket" {
		response.Write([]byte(strings.Repeat("p", 2000)))
		return
	}
	lock.Lock()
	connections++
	connection := connections
	lock.Unlock()
	flusher := http.NewResponseController(response)
	response.WriteHeader(200)
	flusher.Flush()
	body := bufio.NewReader(asked.Body)
	for {
		first, message, err := read(body)
		if err != nil {
			return
		}
		if first == closeByte {
			response.Write(frame(closeByte, message))
			return
		}
		began := time.Now()
		record(connection, "received", message)
		var request call
		json.Unmarshal(message, &request)
		answer, _ := json.Marshal(reply{"2.0", request.ID, request.Params["echo"]})
		record(connection, "sent", answer)
		response.Write(frame(text, answer))
		flusher.Flush()
		took(began)
	}
}

func serve() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	go http.ServeTLS(listener, http.HandlerFunc(handle), *certificate, *key)
	io.Copy(io.Discard, os.Stdin)
	summary()
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	flag.CommandLine.Parse(os.Args[2:])
	file, err := os.Create(*logFile)
	check(err)
	log = bufio.NewWriter(file)
	serve()
}
