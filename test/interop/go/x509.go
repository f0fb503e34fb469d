package main

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"os"
	"path/filepath"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

type svidShown struct {
	ID        string `json:"id"`
	Hint      string `json:"hint"`
	Serial    string `json:"serial"`
	Authority string `json:"authority"`
	Chain     int    `json:"chain"`
	NotAfter  int64  `json:"notAfter"`
	// Whether go-spiffe itself verifies it with the bundle that came along.
	Verified string   `json:"verified"`
	DNSNames []string `json:"dnsNames"`
}

type contextShown struct {
	SVIDs []svidShown `json:"svids"`
	// Trust domain -> number of authorities.
	Bundles map[string]int `json:"bundles"`
}

func shown(svid *x509svid.SVID, set x509bundle.Source) svidShown {
	leaf := svid.Certificates[0]
	verified := ""
	if _, _, err := x509svid.Verify(svid.Certificates, set); err != nil {
		verified = err.Error()
	}
	return svidShown{
		ID:        svid.ID.String(),
		Hint:      svid.Hint,
		Serial:    hex.EncodeToString(leaf.SerialNumber.Bytes()),
		Authority: hex.EncodeToString(leaf.AuthorityKeyId),
		Chain:     len(svid.Certificates),
		NotAfter:  leaf.NotAfter.UnixMilli(),
		Verified:  verified,
		DNSNames:  leaf.DNSNames,
	}
}

func contextOf(update *workloadapi.X509Context) contextShown {
	result := contextShown{Bundles: map[string]int{}}
	for _, svid := range update.SVIDs {
		result.SVIDs = append(result.SVIDs, shown(svid, update.Bundles))
	}
	for _, bundle := range update.Bundles.Bundles() {
		result.Bundles[bundle.TrustDomain().Name()] = len(bundle.X509Authorities())
	}
	return result
}

// fetch takes one complete state.
func fetch(ctx context.Context, _ []string) (any, error) {
	client, err := workloadapi.New(ctx)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	update, err := client.FetchX509Context(ctx)
	if err != nil {
		return nil, err
	}
	return contextOf(update), nil
}

type watcher struct{}

func (watcher) OnX509ContextUpdate(update *workloadapi.X509Context) { emit(contextOf(update)) }
func (watcher) OnX509ContextWatchError(err error) {
	emit(failure{Error: err.Error(), Code: codeOf(err)})
}

// watch prints every state until the process is ended.
func watch(ctx context.Context, _ []string) (any, error) {
	return nil, workloadapi.WatchX509Context(ctx, watcher{})
}

// save writes an SVID, its key and its bundle into a directory: to be shown later, when they are no longer good.
func save(ctx context.Context, args []string) (any, error) {
	dir, err := argument(args, 0, "DIRECTORY")
	if err != nil {
		return nil, err
	}
	source, err := workloadapi.NewX509Source(ctx)
	if err != nil {
		return nil, err
	}
	defer source.Close()
	svid, err := source.GetX509SVID()
	if err != nil {
		return nil, err
	}
	chain, key, err := svid.Marshal()
	if err != nil {
		return nil, err
	}
	bundle, err := source.GetX509BundleForTrustDomain(svid.ID.TrustDomain())
	if err != nil {
		return nil, err
	}
	roots, err := bundle.Marshal()
	if err != nil {
		return nil, err
	}
	for name, text := range map[string][]byte{"svid.pem": chain, "key.pem": key, "bundle.pem": roots} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			return nil, err
		}
	}
	return shown(svid, source), nil
}

// header asks without the security header ("none"), or with what is given instead of "true".
func header(ctx context.Context, args []string) (any, error) {
	address := os.Getenv(workloadapi.SocketEnv)
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	for _, value := range args {
		ctx = metadata.AppendToOutgoingContext(ctx, "workload.spiffe.io", value)
	}
	stream, err := workload.NewSpiffeWorkloadAPIClient(conn).FetchX509SVID(ctx, &workload.X509SVIDRequest{})
	if err != nil {
		return nil, err
	}
	answer, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificates(answer.Svids[0].X509Svid)
	if err != nil {
		return nil, err
	}
	return map[string]string{"id": leaf[0].URIs[0].String()}, nil
}
