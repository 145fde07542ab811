// An SSM agent's multiplexer as far as a client can tell: xtaci/smux, with the agent's settings, over standard input and
// output. Each stream says on its first line what it wants.
package main

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/xtaci/smux"
)

type pipe struct {
	io.Reader
	io.Writer
}

func (pipe) Close() error { return nil }

func main() {
	config := smux.DefaultConfig()
	config.Version = 1
	config.MaxFrameSize = 32768
	config.MaxReceiveBuffer = 4 << 20
	config.MaxStreamBuffer = 64 << 10
	// The agent's keepalive is off for new clients. Old agents ask often; here, all the time.
	config.KeepAliveDisabled = len(os.Args) < 2 || os.Args[1] != "keepalive"
	config.KeepAliveInterval = 5 * time.Millisecond
	config.KeepAliveTimeout = time.Hour
	session, err := smux.Server(pipe{os.Stdin, os.Stdout}, config)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for {
		stream, err := session.AcceptStream()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return
		}
		go serve(session, stream)
	}
}

func serve(session *smux.Session, stream *smux.Stream) {
	defer stream.Close()
	reader := bufio.NewReader(stream)
	line, err := reader.ReadString('\n')
	if err != nil {
		return
	}
	words := strings.Fields(line)
	switch words[0] {
	case "echo":
		io.Copy(stream, reader)
	case "give":
		give(stream, number(words[1]))
	case "take":
		digest := sha256.New()
		io.CopyN(digest, reader, number(words[1]))
		fmt.Fprintf(stream, "%x", digest.Sum(nil))
	case "alone":
		for session.NumStreams() > 1 {
			time.Sleep(time.Millisecond)
		}
		io.WriteString(stream, "alone")
	}
}

func give(to io.Writer, length int64) {
	bytes := make([]byte, length)
	for at := range bytes {
		if at%3 == 0 {
			bytes[at] = '\n'
		} else {
			bytes[at] = byte(at % 251)
		}
	}
	to.Write(bytes)
}

func number(text string) int64 {
	value, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		panic(err)
	}
	return value
}
