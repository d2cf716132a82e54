// A wss server and its clients over gorilla/websocket for hours under load, with garbage collections
// one after the other: goroutines and their stacks move all the time.
//
// `soak server` prints its port and answers each line of standard input with the messages that it has
// received and sent. `soak client PORT CONNECTIONS` prints `ready` once all are open, then asks on
// all of them as fast as it is answered; `pause` waits until nothing is on its way, `resume` goes on,
// and both are answered with the number of answers so far.
package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

var received, sent int64

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func certificate() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	must(err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// grow makes the stack deeper, so that it is copied to another place.
func grow(depth int, message []byte) []byte {
	var room [256]byte
	if depth == 0 {
		return message
	}
	room[depth] = message[0]
	answer := grow(depth-1, message)
	answer[0] = room[depth]
	return answer
}

func handle(response http.ResponseWriter, asked *http.Request) {
	upgrader := websocket.Upgrader{}
	socket, err := upgrader.Upgrade(response, asked, nil)
	if err != nil {
		return
	}
	defer socket.Close()
	for {
		_, message, err := socket.ReadMessage()
		if err != nil {
			return
		}
		atomic.AddInt64(&received, 1)
		// {"jsonrpc":"2.0","id":N,"method":"a"...} becomes its own answer.
		answer := append([]byte{}, grow(len(message)%50, message)...)
		copy(answer[len(`{"jsonrpc":"2.0",`):], `"result":100,"id":`)
		if socket.WriteMessage(websocket.TextMessage, answer) != nil {
			return
		}
		atomic.AddInt64(&sent, 1)
	}
}

func server() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	config := &tls.Config{Certificates: []tls.Certificate{certificate()}}
	go http.Serve(tls.NewListener(listener, config), http.HandlerFunc(handle))
	go func() {
		for {
			runtime.GC()
		}
	}()
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var memory runtime.MemStats
		runtime.ReadMemStats(&memory)
		fmt.Println(atomic.LoadInt64(&received), atomic.LoadInt64(&sent), memory.NumGC)
	}
}

// gate holds all clients back between two of their questions.
type gate struct {
	lock   sync.Mutex
	change *sync.Cond
	closed bool
	inside int
}

func (g *gate) enter() {
	g.lock.Lock()
	for g.closed {
		g.change.Wait()
	}
	g.inside++
	g.lock.Unlock()
}

func (g *gate) leave() {
	g.lock.Lock()
	g.inside--
	if g.inside == 0 {
		g.change.Broadcast()
	}
	g.lock.Unlock()
}

func (g *gate) set(closed bool) {
	g.lock.Lock()
	g.closed = closed
	g.change.Broadcast()
	for closed && g.inside > 0 {
		g.change.Wait()
	}
	g.lock.Unlock()
}

func talk(socket *websocket.Conn, g *gate, answers *int64) {
	for number := 1; ; number++ {
		question := fmt.Sprintf(`{"jsonrpc":"2.0","method":"a","id":%9d,"params":"%060d"}`, number, number)
		g.enter()
		must(socket.WriteMessage(websocket.TextMessage, []byte(question)))
		_, _, err := socket.ReadMessage()
		must(err)
		atomic.AddInt64(answers, 1)
		g.leave()
	}
}

func client(port string, count int) {
	g := &gate{closed: true}
	g.change = sync.NewCond(&g.lock)
	dialer := websocket.Dialer{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	var answers int64
	for i := 0; i < count; i++ {
		socket, _, err := dialer.Dial("wss://127.0.0.1:"+port+"/", nil)
		must(err)
		go talk(socket, g, &answers)
	}
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		g.set(lines.Text() == "pause")
		fmt.Println(atomic.LoadInt64(&answers))
	}
}

func main() {
	if os.Args[1] == "server" {
		server()
		return
	}
	count, err := strconv.Atoi(os.Args[3])
	must(err)
	client(os.Args[2], count)
}
