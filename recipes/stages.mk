# Stages of a recipe as real files. The Makefile of a recipe folder includes this file.
#
#   make -C recipes/quala-minilm-squad DATA="train.json" EVAL="dev.json"     runs what is missing or out of date
#   make -n -C ...                                                           shows the plan
#   make -C ... STAGE                                                        runs up to one stage
#   make -C ... STAGE_OPTIONS="--num_train_epochs 1"                         options of one stage; they win over its recipe
#   make -t -C ... STAGE                                                     takes what lies in the stage's folder as done
#
# DATA, EVAL: files, relative to WORK or absolute; without them the data sets that the recipes name.
# WORK: the folder in which the commands run and which holds outputs/; the repository when not given.
#
# A stage runs again when its options, its recipe, its data or an earlier stage changed: the folder of the run before is then
# renamed to FOLDER.old-TIME. A stage that was killed goes on: nothing changed, but its result is missing.

WORK ?= $(abspath $(dir $(lastword $(MAKEFILE_LIST)))/..)
HF_DYNBERT ?= hf-dynbert
STATE := $(WORK)/outputs/.make
$(shell mkdir -p $(STATE))

in_work = $(foreach path,$(1),$(if $(filter /%,$(path)),$(path),$(WORK)/$(path)))
quote = '$(subst ','\'',$(1))'
checksum = $(shell printf '%s' $(call quote,$(1)) | cksum | cut -d' ' -f1)

TRAIN_FILES := $(if $(DATA),--train_file $(DATA))
DATA_FILES := $(wildcard $(call in_work,$(DATA) $(EVAL)))

# $(eval $(call stage,NAME,VERB,FOLDER,RESULT,RECIPE,EARLIER)) for a stage whose options are in NAME_WORDS and NAME_OPTIONS.
# RESULT is the file that the verb writes last into FOLDER, RECIPE a YAML file or nothing, EARLIER the stages it starts from.
# NAME_BEGUN marks with which options and after which inputs the run in FOLDER began.
define stage
$(1)_COMMAND := $(HF_DYNBERT) $(2) $(abspath $(5)) $($(1)_WORDS) $($(1)_OPTIONS)
$(1)_RESULT := $(call in_work,$(3))/$(4)
$(1)_BEGUN := $(STATE)/$(notdir $(3)).$(2)-$$(call checksum,$$($(1)_COMMAND))

.PHONY: $(1)
$(1): $$($(1)_RESULT)

$$($(1)_RESULT): $$($(1)_BEGUN)
	cd $(WORK) && $$($(1)_COMMAND)
	@test -e $$@ && touch $$@

$$($(1)_BEGUN): $(5) $(foreach name,$(6),$($(name)_RESULT)) $(DATA_FILES)
	$(if $(filter evaluate,$(2)),,@$(call set_aside,$(call in_work,$(3))))
	@rm -f $(STATE)/$(notdir $(3)).$(2)-*
	@touch $$@
endef

set_aside = if [ -d $(1) ]; then mv -v $(1) $(1).old-$$$$(date +%s%N); fi
