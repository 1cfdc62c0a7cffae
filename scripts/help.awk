# Prints the targets of a Makefile from `target: ## text` and the groups from `##@ title`.
BEGIN { FS = ":.*## " }
/^##@ / { printf "\n%s\n", substr($0, 5) }
/^[a-z][a-z-]*:.*## / { printf "  make %-16s %s\n", $1, $2 }
