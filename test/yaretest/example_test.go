package yaretest_test

import (
	"context"
	"fmt"
	"log"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/yare-io/yare/test/yaretest"
)

// Without a *testing.T, as in TestMain, a server is stopped by hand. In a test,
// server := yaretest.Start(t) does that itself.
func Example() {
	server, err := yaretest.New(yaretest.WithCRDs("testdata/crds"))
	if err != nil {
		log.Fatal(err)
	}
	defer func() {
		if err := server.Close(); err != nil {
			log.Fatal(err)
		}
	}()
	client := kubernetes.NewForConfigOrDie(server.Config())
	made, err := client.CoreV1().ConfigMaps("default").Create(context.Background(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "settings"}, Data: map[string]string{"colour": "blue"},
	}, metav1.CreateOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(made.Namespace, made.Name, made.Data["colour"])
	resources, err := client.Discovery().ServerResourcesForGroupVersion("example.com/v1")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(resources.APIResources[0].Name)
	// Output:
	// default settings blue
	// greetings
}
