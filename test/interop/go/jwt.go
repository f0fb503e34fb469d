package main

import (
	"context"
	"errors"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

type tokenShown struct {
	ID       string   `json:"id"`
	Hint     string   `json:"hint"`
	Audience []string `json:"audience"`
	Seconds  int64    `json:"seconds"`
	Token    string   `json:"token"`
	// What verified it gave another ID, or refused it: empty is good.
	Local  string `json:"local"`
	Remote string `json:"remote"`
	// The same with an audience that the token is not for: empty is a fault.
	LocalElsewhere  string `json:"localElsewhere"`
	RemoteElsewhere string `json:"remoteElsewhere"`
}

const elsewhere = "https://elsewhere.test"

// jwt fetches a JWT-SVID for an audience and validates it by itself, and by the agent.
func jwt(ctx context.Context, args []string) (any, error) {
	audience, err := argument(args, 0, "AUDIENCE")
	if err != nil {
		return nil, err
	}
	source, err := workloadapi.NewJWTSource(ctx)
	if err != nil {
		return nil, err
	}
	defer source.Close()
	client, err := workloadapi.New(ctx)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	svids, err := source.FetchJWTSVIDs(ctx, jwtsvid.Params{Audience: audience})
	if err != nil {
		return nil, err
	}
	result := []tokenShown{}
	for _, svid := range svids {
		local := func(audience string) string {
			parsed, err := jwtsvid.ParseAndValidate(svid.Marshal(), source, []string{audience})
			return difference(parsed, err, svid.ID)
		}
		remote := func(audience string) string {
			parsed, err := client.ValidateJWTSVID(ctx, svid.Marshal(), audience)
			return difference(parsed, err, svid.ID)
		}
		result = append(result, tokenShown{
			ID:              svid.ID.String(),
			Hint:            svid.Hint,
			Audience:        svid.Audience,
			Seconds:         int64(time.Until(svid.Expiry).Seconds()),
			Token:           svid.Marshal(),
			Local:           local(audience),
			Remote:          remote(audience),
			LocalElsewhere:  local(elsewhere),
			RemoteElsewhere: remote(elsewhere),
		})
	}
	return result, nil
}

// validate asks the agent whether a token of somebody else is good.
func validate(ctx context.Context, args []string) (any, error) {
	token, err := argument(args, 0, "TOKEN")
	if err != nil {
		return nil, err
	}
	audience, err := argument(args, 1, "AUDIENCE")
	if err != nil {
		return nil, err
	}
	client, err := workloadapi.New(ctx)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	svid, err := client.ValidateJWTSVID(ctx, token, audience)
	if err != nil {
		return nil, err
	}
	return map[string]any{"id": svid.ID.String(), "claims": svid.Claims}, nil
}

func difference(svid *jwtsvid.SVID, err error, id spiffeid.ID) string {
	if err == nil && svid.ID != id {
		err = errors.New("another ID: " + svid.ID.String())
	}
	if err != nil {
		return err.Error()
	}
	return ""
}
