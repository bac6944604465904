package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"Which shell: bash, zsh or fish."`
}

// Help says where the script belongs.
func (completionCommand) Help() string {
	return "bash: source <(rod completion bash), in ~/.bashrc. zsh: rod completion zsh > _rod, in a folder of $fpath. " +
		"fish: rod completion fish > ~/.config/fish/completions/rod.fish."
}

// Run prints the script.
func (c *completionCommand) Run(s *session) error {
	text := map[string]func([]place) string{"bash": bash, "zsh": zsh, "fish": fish}[c.Shell](places(s.tree))
	_, err := fmt.Fprint(s.stdout, text)
	return err
}

// quote is a word between single quotes, the same in all three shells but for what is done with a quote in it.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func words(cs []choice) string {
	names := make([]string, len(cs))
	for i, c := range cs {
		names[i] = c.word
	}
	return strings.Join(names, " ")
}

// pathsOf are the places, but for the top, as patterns of a shell's case.
func pathsOf(ps []place) string {
	var all []string
	for _, p := range ps[1:] {
		all = append(all, quote(p.path))
	}
	return strings.Join(all, "|")
}

// valuedOf are all flags that have a value, wherever they may stand.
func valuedOf(ps []place) string {
	set := map[string]bool{}
	for _, p := range ps {
		for _, f := range p.valued {
			set[f] = true
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(set)), "|")
}

// finder is the part that bash and zsh share: it walks the words before the cursor and leaves the place in $at and the word
// before the cursor in $prev.
const finder = `	local at='' prev='' word skip=''
	for word in "${before[@]}"; do
		prev=$word
		if [[ -n $skip ]]; then
			skip=''
			continue
		fi
		case $word in
		%s) skip=1; continue ;;
		esac
		case ${at:+$at }$word in
		%s) at=${at:+$at }$word ;;
		esac
	done
`

func bash(ps []place) string {
	var b strings.Builder
	b.WriteString("# bash completion of rod, made by rod completion bash\n_rod() {\n\tlocal cur=${COMP_WORDS[COMP_CWORD]}\n\tlocal before=(\"${COMP_WORDS[@]:1:COMP_CWORD-1}\")\n")
	fmt.Fprintf(&b, finder, valuedOf(ps), pathsOf(ps))
	b.WriteString("\tlocal words='' flags='' files=''\n\tcase $at in\n")
	for _, p := range ps {
		fmt.Fprintf(&b, "\t%s)\n\t\twords=%s flags=%s\n", quote(p.path), quote(words(p.words)), quote(words(p.flags)))
		if p.paths {
			b.WriteString("\t\tfiles=1\n")
		}
		b.WriteString("\t\tcase $prev in\n")
		for _, name := range slices.Sorted(maps.Keys(p.values)) {
			fmt.Fprintf(&b, "\t\t%s) words=%s flags='' ;;\n", name, quote(strings.Join(p.values[name], " ")))
		}
		if len(p.files) > 0 {
			fmt.Fprintf(&b, "\t\t%s) words='' flags='' files=1 ;;\n", strings.Join(p.files, "|"))
		}
		b.WriteString("\t\tesac ;;\n")
	}
	b.WriteString(`	esac
	if [[ $cur == -* ]]; then
		words=$flags
	fi
	COMPREPLY=($(compgen -W "$words" -- "$cur"))
	if [[ -n $files && $cur != -* ]]; then
		COMPREPLY+=($(compgen -f -- "$cur"))
		compopt -o filenames 2>/dev/null
	fi
}
complete -F _rod rod
`)
	return b.String()
}

func zsh(ps []place) string {
	var b strings.Builder
	b.WriteString("#compdef rod\n# zsh completion of rod, made by rod completion zsh\n_rod() {\n\tlocal -a before choices\n\tbefore=(\"${(@)words[2,CURRENT-1]}\")\n")
	fmt.Fprintf(&b, finder, valuedOf(ps), pathsOf(ps))
	b.WriteString("\tlocal cur=${words[CURRENT]}\n\tcase $at in\n")
	for _, p := range ps {
		fmt.Fprintf(&b, "\t%s)\n\t\tcase $prev in\n", quote(p.path))
		for _, name := range slices.Sorted(maps.Keys(p.values)) {
			fmt.Fprintf(&b, "\t\t%s) compadd -- %s; return ;;\n", name, strings.Join(p.values[name], " "))
		}
		if len(p.files) > 0 {
			fmt.Fprintf(&b, "\t\t%s) _files; return ;;\n", strings.Join(p.files, "|"))
		}
		b.WriteString("\t\tesac\n\t\tif [[ $cur == -* ]]; then\n\t\t\tchoices=(" + described(p.flags) + ")\n\t\telse\n\t\t\tchoices=(" + described(p.words) + ")\n\t\tfi\n")
		if p.paths {
			b.WriteString("\t\t[[ $cur == -* ]] || _files\n")
		}
		b.WriteString("\t\t;;\n")
	}
	b.WriteString("\tesac\n\t_describe rod choices\n}\n_rod \"$@\"\n")
	return b.String()
}

// described are choices as _describe wants them: a colon between word and help.
func described(cs []choice) string {
	var all []string
	for _, c := range cs {
		all = append(all, quote(c.word+":"+c.help))
	}
	return strings.Join(all, " ")
}

func fish(ps []place) string {
	var b strings.Builder
	fmt.Fprintf(&b, `# fish completion of rod, made by rod completion fish
function __rod_at
	set -l at ''
	set -l skip ''
	set -l before (commandline -opc)
	for word in $before[2..-1]
		if test -n "$skip"
			set skip ''
			continue
		end
		if contains -- $word %s
			set skip 1
			continue
		end
		set -l next (string trim -- "$at $word")
		if contains -- $next %s
			set at $next
		end
	end
	test "$at" = "$argv[1]"
end
complete -c rod -f
`, strings.ReplaceAll(valuedOf(ps), "|", " "), strings.ReplaceAll(pathsOf(ps), "|", " "))
	for _, p := range ps {
		when := "-n " + fishQuote("__rod_at "+fishQuote(p.path))
		for _, c := range p.words {
			fmt.Fprintf(&b, "complete -c rod %s -a %s -d %s\n", when, c.word, fishQuote(c.help))
		}
		if p.paths {
			fmt.Fprintf(&b, "complete -c rod %s -F\n", when)
		}
		for _, f := range p.flags {
			fmt.Fprintf(&b, "complete -c rod %s -l %s -d %s", when, strings.TrimPrefix(f.word, "--"), fishQuote(f.help))
			switch {
			case slices.Contains(p.files, f.word):
				b.WriteString(" -r -F")
			case p.values[f.word] != nil:
				b.WriteString(" -x -a " + fishQuote(strings.Join(p.values[f.word], " ")))
			case slices.Contains(p.valued, f.word):
				b.WriteString(" -x")
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

// fishQuote: between single quotes fish knows a backslash.
func fishQuote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}
