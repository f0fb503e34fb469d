// Command kubernetes-api is a Kubernetes API server with its etcd in one process, on the loopback interface:
//
//	kubernetes-api ETCD-DIR ETCD-CLIENT-URL ETCD-PEER-URL APISERVER-FLAG...
package main

import (
	"fmt"
	"net/url"
	"os"

	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/component-base/cli"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func main() {
	if len(os.Args) < 4 {
		fail(fmt.Errorf("usage: kubernetes-api ETCD-DIR ETCD-CLIENT-URL ETCD-PEER-URL APISERVER-FLAG..."))
	}
	client, err := url.Parse(os.Args[2])
	fail(err)
	peer, err := url.Parse(os.Args[3])
	fail(err)
	config := embed.NewConfig()
	config.Dir = os.Args[1]
	config.LogLevel = "error"
	config.ListenClientUrls = []url.URL{*client}
	config.AdvertiseClientUrls = []url.URL{*client}
	config.ListenPeerUrls = []url.URL{*peer}
	config.AdvertisePeerUrls = []url.URL{*peer}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	etcd, err := embed.StartEtcd(config)
	fail(err)
	<-etcd.Server.ReadyNotify()
	command := app.NewAPIServerCommand()
	command.SetArgs(os.Args[4:])
	os.Exit(cli.Run(command))
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
