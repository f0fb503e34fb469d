package main

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// serve greets every peer of the given ID ("any" for all that can be verified) over mutual TLS, until it is ended.
func serve(ctx context.Context, args []string) (any, error) {
	authorize, err := authorizer(args, 0)
	if err != nil {
		return nil, err
	}
	source, err := workloadapi.NewX509Source(ctx)
	if err != nil {
		return nil, err
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", tlsconfig.MTLSServerConfig(source, source, authorize))
	if err != nil {
		return nil, err
	}
	emit(map[string]int{"port": listener.Addr().(*net.TCPAddr).Port})
	for {
		conn, err := listener.Accept()
		if err != nil {
			return nil, err
		}
		go greet(conn.(*tls.Conn))
	}
}

func greet(conn *tls.Conn) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if err := conn.Handshake(); err != nil {
		emit(map[string]string{"refused": err.Error()})
		return
	}
	peer, err := x509svid.IDFromCert(conn.ConnectionState().PeerCertificates[0])
	if err != nil {
		emit(map[string]string{"refused": err.Error()})
		return
	}
	fmt.Fprintf(conn, "hello %s\n", peer)
}

// maxAnswer is more than any peer here says.
const maxAnswer = 4096

type dialed struct {
	Peer   string `json:"peer"`
	Serial string `json:"serial"`
	Group  string `json:"group"`
	// What the peer sent after the handshake.
	Answer string `json:"answer"`
}

// dial connects to ADDRESS and expects the peer to be ID ("any": whom the bundles verify; "unchecked": anybody). With
// a directory of "save" it shows those files instead of its own SVID; with "none" nothing. SEND is sent first.
func dial(ctx context.Context, args []string) (any, error) {
	address, err := argument(args, 0, "ADDRESS")
	if err != nil {
		return nil, err
	}
	config, err := clientConfig(ctx, args)
	if err != nil {
		return nil, err
	}
	dialer := tls.Dialer{Config: config}
	raw, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer raw.Close()
	conn := raw.(*tls.Conn)
	_ = conn.SetDeadline(time.Now().Add(patience))
	if len(args) > 3 {
		if _, err := conn.Write([]byte(args[3])); err != nil {
			return nil, err
		}
	}
	// In TLS 1.3 a server refuses the client's certificate only after the client has finished: reading shows it.
	answer, err := io.ReadAll(io.LimitReader(conn, maxAnswer))
	if err != nil {
		return nil, err
	}
	if len(answer) == 0 {
		return nil, errors.New("the peer ended the connection without a word")
	}
	state := conn.ConnectionState()
	leaf := state.PeerCertificates[0]
	peer, err := x509svid.IDFromCert(leaf)
	if err != nil {
		return nil, err
	}
	serial := hex.EncodeToString(leaf.SerialNumber.Bytes())
	return dialed{Peer: peer.String(), Serial: serial, Group: state.CurveID.String(), Answer: string(answer)}, nil
}

func clientConfig(ctx context.Context, args []string) (*tls.Config, error) {
	expected, err := argument(args, 1, "ID")
	if err != nil {
		return nil, err
	}
	own := ""
	if len(args) > 2 {
		own = args[2]
	}
	var svid x509svid.Source
	var roots x509bundle.Source
	switch own {
	case "", "own":
		source, err := workloadapi.NewX509Source(ctx)
		if err != nil {
			return nil, err
		}
		svid, roots = source, source
	case "none":
	default:
		files, err := x509svid.Load(filepath.Join(own, "svid.pem"), filepath.Join(own, "key.pem"))
		if err != nil {
			return nil, err
		}
		bundle, err := x509bundle.Load(files.ID.TrustDomain(), filepath.Join(own, "bundle.pem"))
		if err != nil {
			return nil, err
		}
		svid, roots = files, bundle
	}
	if expected == "unchecked" {
		config := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}
		if svid != nil {
			config.GetClientCertificate = tlsconfig.GetClientCertificate(svid)
		}
		return config, nil
	}
	if svid == nil {
		return nil, errors.New("without an SVID the peer can only be unchecked")
	}
	authorize, err := authorizer(args, 1)
	if err != nil {
		return nil, err
	}
	return tlsconfig.MTLSClientConfig(svid, roots, authorize), nil
}

func authorizer(args []string, index int) (tlsconfig.Authorizer, error) {
	text, err := argument(args, index, "ID")
	if err != nil {
		return nil, err
	}
	if text == "any" {
		return tlsconfig.AuthorizeAny(), nil
	}
	id, err := spiffeid.FromString(text)
	if err != nil {
		fmt.Fprintln(os.Stderr, "not a SPIFFE ID:", text)
		return nil, err
	}
	return tlsconfig.AuthorizeID(id), nil
}
