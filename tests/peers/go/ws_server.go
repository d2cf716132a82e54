// A wss JSON-RPC server over gorilla/websocket that keeps its own log of what it saw.
//
// Prints its port, serves until standard input ends, then prints a summary as JSON. Log and
// measurements as in ws_server.py.
package main

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sort"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

type request struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params struct {
		Echo  string  `json:"echo"`
		Pause float64 `json:"pause"`
	} `json:"params"`
}

type reply struct {
	JSONRPC string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Result  string          `json:"result"`
}

// Everything below the lock is shared by the connections.
var (
	lock        sync.Mutex
	log         *bufio.Writer
	connections int
	requests    int
	serviceNs   []int64
)

func record(connection int, direction string, message []byte) {
	lock.Lock()
	defer lock.Unlock()
	data := base64.StdEncoding.EncodeToString(message)
	fmt.Fprintf(log, "%d %s text %s\n", connection, direction, data)
}

func handle(response http.ResponseWriter, asked *http.Request) {
	upgrader := websocket.Upgrader{}
	socket, err := upgrader.Upgrade(response, asked, nil)
	if err != nil {
		return
	}
	defer socket.Close()
	lock.Lock()
	connections++
	connection := connections
	lock.Unlock()
	for {
		_, message, err := socket.ReadMessage()
		if err != nil {
			return
		}
		began := time.Now()
		record(connection, "received", message)
		var call request
		if json.Unmarshal(message, &call) != nil || call.ID == nil {
			continue
		}
		time.Sleep(time.Duration(call.Params.Pause * float64(time.Second)))
		answer, _ := json.Marshal(reply{"2.0", call.ID, call.Params.Echo})
		if socket.WriteMessage(websocket.TextMessage, answer) != nil {
			return
		}
		lock.Lock()
		serviceNs = append(serviceNs, time.Since(began).Nanoseconds())
		requests++
		lock.Unlock()
		record(connection, "sent", answer)
	}
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	certificate := flag.String("certificate", "", "")
	key := flag.String("key", "", "")
	path := flag.String("log", "", "")
	plain := flag.Bool("plain", false, "ws:// instead of wss://")
	flag.Parse()
	file, err := os.Create(*path)
	must(err)
	log = bufio.NewWriter(file)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	if !*plain {
		pair, err := tls.LoadX509KeyPair(*certificate, *key)
		must(err)
		listener = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{pair}})
	}
	go http.Serve(listener, http.HandlerFunc(handle))
	io.Copy(io.Discard, os.Stdin)

	lock.Lock()
	must(log.Flush())
	sort.Slice(serviceNs, func(i, j int) bool { return serviceNs[i] < serviceNs[j] })
	median := int64(0)
	if len(serviceNs) > 0 {
		median = serviceNs[len(serviceNs)/2]
	}
	fmt.Printf("{\"requests\": %d, \"median_ns\": %d}\n", requests, median)
}
