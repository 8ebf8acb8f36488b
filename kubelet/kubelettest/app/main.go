// Command app is what test containers run: a pause process, and small programs that serve, wait, fail or print.
package main

import (
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) < 2 {
		pause()
	}
	args := os.Args[2:]
	switch os.Args[1] {
	case "pause":
		pause()
	case "serve":
		serve(args)
	case "exit":
		say(args)
		code, _ := strconv.Atoi(args[0])
		os.Exit(code)
	case "env":
		fmt.Println(strings.Join(os.Environ(), "\n"))
	case "cat":
		cat(args)
	case "touch":
		check(os.WriteFile(args[0], []byte(strings.Join(args[1:], " ")), 0o644))
	case "rm":
		check(os.Remove(args[0]))
	case "stat":
		stat(args)
	case "hostname":
		name, err := os.Hostname()
		check(err)
		fmt.Println(name)
	case "id":
		groups, err := os.Getgroups()
		check(err)
		fmt.Println(os.Getuid(), os.Getgid(), groups)
	case "ignore-term":
		signal.Ignore(syscall.SIGTERM)
		time.Sleep(time.Hour)
	case "spam":
		for i := 0; ; i++ {
			fmt.Println(i, strings.Repeat("x", 1000))
			time.Sleep(time.Millisecond)
		}
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// pause waits for a signal and reaps what is handed to it.
func pause() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	<-stop
	os.Exit(0)
}

// say writes the arguments after the first to the termination message.
func say(args []string) {
	if len(args) > 1 {
		check(os.WriteFile("/dev/termination-log", []byte(strings.Join(args[1:], " ")), 0o644))
	}
}

func cat(paths []string) {
	for _, path := range paths {
		data, err := os.ReadFile(path)
		check(err)
		os.Stdout.Write(data)
	}
}

func stat(paths []string) {
	for _, path := range paths {
		info, err := os.Stat(path)
		check(err)
		s := info.Sys().(*syscall.Stat_t)
		fmt.Printf("%v %d %d\n", info.Mode(), s.Uid, s.Gid)
	}
}

// serve answers on a port; /file answers 200 if the file of the second argument exists, else 500.
func serve(args []string) {
	go pause()
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "hello") })
	mux.HandleFunc("/file", func(w http.ResponseWriter, r *http.Request) {
		if _, err := os.Stat(args[1]); err != nil {
			http.Error(w, "no such file", http.StatusInternalServerError)
		}
	})
	fmt.Println("serving")
	check(http.ListenAndServe(":"+args[0], mux))
}
