// A wss JSON-RPC client over gorilla/websocket that keeps its own log of what it saw.
//
// Prints `ready`, waits for a line on standard input, sends --requests over --connections, then
// prints a summary as JSON. Log and measurements as in ws_server.py.
package main

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

type params struct {
	Echo  string  `json:"echo"`
	Pause float64 `json:"pause,omitempty"`
}

type request struct {
	JSONRPC string `json:"jsonrpc"`
	ID      int    `json:"id"`
	Method  string `json:"method"`
	Params  params `json:"params"`
}

var (
	port   = flag.Int("port", 0, "")
	total  = flag.Int("requests", 10, "in all")
	count  = flag.Int("connections", 1, "")
	rounds = flag.Int("rounds", 1, "times that the connections are opened anew")
	size   = flag.Int("size", 20, "bytes echoed by each request")
	plain  = flag.Bool("plain", false, "ws:// instead of wss://")
	pause  = flag.Float64("pause", 0, "seconds the server takes")
)

// Everything below the lock is shared by the connections.
var (
	lock         sync.Mutex
	log          *bufio.Writer
	turnaroundNs []int64
)

func record(connection int, direction string, message []byte) {
	lock.Lock()
	defer lock.Unlock()
	data := base64.StdEncoding.EncodeToString(message)
	fmt.Fprintf(log, "%d %s text %s\n", connection, direction, data)
}

func talk(connection int) {
	dialer := websocket.Dialer{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	scheme := "wss"
	if *plain {
		scheme = "ws"
	}
	url := fmt.Sprintf("%s://127.0.0.1:%d/rpc?token=secret", scheme, *port)
	socket, _, err := dialer.Dial(url, nil)
	must(err)
	defer socket.Close()
	for number := 0; number < *total / *count / *rounds; number++ {
		call := request{"2.0", number, "echo", params{strings.Repeat("x", *size), *pause}}
		message, _ := json.Marshal(call)
		began := time.Now()
		must(socket.WriteMessage(websocket.TextMessage, message))
		record(connection, "sent", message)
		_, answer, err := socket.ReadMessage()
		must(err)
		lock.Lock()
		turnaroundNs = append(turnaroundNs, time.Since(began).Nanoseconds())
		lock.Unlock()
		record(connection, "received", answer)
	}
	bye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	must(socket.WriteMessage(websocket.CloseMessage, bye))
	// The answer to it.
	socket.ReadMessage()
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	path := flag.String("log", "", "")
	flag.Parse()
	file, err := os.Create(*path)
	must(err)
	log = bufio.NewWriter(file)
	fmt.Println("ready")
	bufio.NewReader(os.Stdin).ReadString('\n')
	for round := 0; round < *rounds; round++ {
		var talking sync.WaitGroup
		for connection := 0; connection < *count; connection++ {
			talking.Add(1)
			go func(name int) {
				defer talking.Done()
				talk(name)
			}(round**count + connection)
		}
		talking.Wait()
	}
	must(log.Flush())
	sort.Slice(turnaroundNs, func(i, j int) bool { return turnaroundNs[i] < turnaroundNs[j] })
	median := int64(0)
	if len(turnaroundNs) > 0 {
		median = turnaroundNs[len(turnaroundNs)/2]
	}
	fmt.Printf("{\"answered\": %d, \"median_ns\": %d}\n", len(turnaroundNs), median)
	io.Copy(io.Discard, os.Stdin)
}
