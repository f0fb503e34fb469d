package main

import (
	"context"
	"os"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/federation"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

type bundleShown struct {
	X509 int `json:"x509"`
	JWT  int `json:"jwt"`
	// In documents only.
	Sequence    uint64  `json:"sequence,omitempty"`
	RefreshHint float64 `json:"refreshHint,omitempty"`
}

// bundles takes both kinds of bundles of every trust domain.
func bundles(ctx context.Context, _ []string) (any, error) {
	client, err := workloadapi.New(ctx)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	x509Bundles, err := client.FetchX509Bundles(ctx)
	if err != nil {
		return nil, err
	}
	jwtBundles, err := client.FetchJWTBundles(ctx)
	if err != nil {
		return nil, err
	}
	result := map[string]bundleShown{}
	for _, bundle := range x509Bundles.Bundles() {
		result[bundle.TrustDomain().Name()] = bundleShown{X509: len(bundle.X509Authorities())}
	}
	for _, bundle := range jwtBundles.Bundles() {
		entry := result[bundle.TrustDomain().Name()]
		entry.JWT = len(bundle.JWTAuthorities())
		result[bundle.TrustDomain().Name()] = entry
	}
	return result, nil
}

// document reads a SPIFFE bundle document from a file.
func document(_ context.Context, args []string) (any, error) {
	name, bundle, err := readDocument(args)
	if err != nil {
		return nil, err
	}
	return map[string]any{"trustDomain": name, "bundle": documentShown(bundle)}, nil
}

// endpoint fetches a bundle over HTTPS from an endpoint that proves a SPIFFE ID (https_spiffe).
func endpoint(ctx context.Context, args []string) (any, error) {
	_, known, err := readDocument(args)
	if err != nil {
		return nil, err
	}
	url, err := argument(args, 2, "URL")
	if err != nil {
		return nil, err
	}
	id, err := argument(args, 3, "SPIFFE-ID")
	if err != nil {
		return nil, err
	}
	endpointID, err := spiffeid.FromString(id)
	if err != nil {
		return nil, err
	}
	auth := federation.WithSPIFFEAuth(known, endpointID)
	fetched, err := federation.FetchBundle(ctx, known.TrustDomain(), url, auth)
	if err != nil {
		return nil, err
	}
	return documentShown(fetched), nil
}

func readDocument(args []string) (string, *spiffebundle.Bundle, error) {
	name, err := argument(args, 0, "TRUST-DOMAIN")
	if err != nil {
		return "", nil, err
	}
	file, err := argument(args, 1, "FILE")
	if err != nil {
		return "", nil, err
	}
	domain, err := spiffeid.TrustDomainFromString(name)
	if err != nil {
		return "", nil, err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", nil, err
	}
	bundle, err := spiffebundle.Parse(domain, text)
	return name, bundle, err
}

func documentShown(bundle *spiffebundle.Bundle) bundleShown {
	sequence, _ := bundle.SequenceNumber()
	hint, _ := bundle.RefreshHint()
	return bundleShown{
		X509:        len(bundle.X509Authorities()),
		JWT:         len(bundle.JWTAuthorities()),
		Sequence:    sequence,
		RefreshHint: (hint / time.Second * time.Second).Seconds(),
	}
}
