package main

import (
	"context"
	"crypto"
	"crypto/x509"
	"strconv"

	api "github.com/spiffe/spire-api-sdk/proto/spire/api/agent/delegatedidentity/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

func admin(args []string) (api.DelegatedIdentityClient, *grpc.ClientConn, error) {
	address, err := argument(args, 0, "ADMIN-SOCKET")
	if err != nil {
		return nil, nil, err
	}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, nil, err
	}
	return api.NewDelegatedIdentityClient(conn), conn, nil
}

type delegatedShown struct {
	// What the process with the PID is given, and whether key and certificate belong together.
	IDs        []string `json:"ids"`
	KeysFit    bool     `json:"keysFit"`
	Tokens     []string `json:"tokens"`
	X509Trust  []string `json:"x509Trust"`
	JWTTrust   []string `json:"jwtTrust"`
	Federation []string `json:"federation"`
}

// delegated asks with SPIRE's own client for what the process with a PID is given.
func delegated(ctx context.Context, args []string) (any, error) {
	client, conn, err := admin(args)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	text, err := argument(args, 1, "PID")
	if err != nil {
		return nil, err
	}
	pid, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return nil, err
	}
	result := delegatedShown{KeysFit: true}
	svids, err := client.SubscribeToX509SVIDs(ctx, &api.SubscribeToX509SVIDsRequest{Pid: int32(pid)})
	if err != nil {
		return nil, err
	}
	first, err := svids.Recv()
	if err != nil {
		return nil, err
	}
	for _, svid := range first.X509Svids {
		result.IDs = append(result.IDs, "spiffe://"+svid.X509Svid.Id.TrustDomain+svid.X509Svid.Id.Path)
		result.KeysFit = result.KeysFit && fits(svid)
	}
	result.Federation = first.FederatesWith
	tokens, err := client.FetchJWTSVIDs(ctx, &api.FetchJWTSVIDsRequest{Audience: []string{elsewhere}, Pid: int32(pid)})
	if err != nil {
		return nil, err
	}
	for _, token := range tokens.Svids {
		result.Tokens = append(result.Tokens, "spiffe://"+token.Id.TrustDomain+token.Id.Path)
	}
	if result.X509Trust, err = x509Trust(ctx, client); err != nil {
		return nil, err
	}
	result.JWTTrust, err = jwtTrust(ctx, client)
	return result, err
}

// delegation asks with selectors that the delegate made up.
func delegation(ctx context.Context, args []string) (any, error) {
	client, conn, err := admin(args)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	selectors := []*types.Selector{{Type: "unix", Value: "uid:0"}}
	svids, err := client.SubscribeToX509SVIDs(ctx, &api.SubscribeToX509SVIDsRequest{Selectors: selectors})
	if err != nil {
		return nil, err
	}
	if _, err := svids.Recv(); err != nil {
		return nil, err
	}
	return map[string]bool{"answered": true}, nil
}

func fits(svid *api.X509SVIDWithKey) bool {
	key, err := x509.ParsePKCS8PrivateKey(svid.X509SvidKey)
	if err != nil {
		return false
	}
	leaf, err := x509.ParseCertificate(svid.X509Svid.CertChain[0])
	if err != nil {
		return false
	}
	// Every private key of the standard library has its public half, which compares itself.
	signer, ok := key.(crypto.Signer)
	if !ok {
		return false
	}
	public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(leaf.PublicKey)
}

func x509Trust(ctx context.Context, client api.DelegatedIdentityClient) ([]string, error) {
	stream, err := client.SubscribeToX509Bundles(ctx, &api.SubscribeToX509BundlesRequest{})
	if err != nil {
		return nil, err
	}
	answer, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	names := []string{}
	for name, der := range answer.CaCertificates {
		if _, err := x509.ParseCertificates(der); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

func jwtTrust(ctx context.Context, client api.DelegatedIdentityClient) ([]string, error) {
	stream, err := client.SubscribeToJWTBundles(ctx, &api.SubscribeToJWTBundlesRequest{})
	if err != nil {
		return nil, err
	}
	answer, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	names := []string{}
	for name := range answer.Bundles {
		names = append(names, name)
	}
	return names, nil
}
