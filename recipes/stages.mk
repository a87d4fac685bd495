# Rules that make the folders of a recipe's stages. The Makefile of a recipe folder includes this file.
#
#   make -C recipes/quala-minilm-squad DATA="train.json" EVAL="dev.json"     runs what is missing or out of date
#   make -n -C ...                                                           shows the plan
#   make -C ... STAGE                                                        runs up to one stage
#   make -C ... STAGE_OPTIONS="--num_train_epochs 1"                         options of one stage, which override its recipe
#   make -t -C ... STAGE                                                     marks the stage as done with the files in its folder
#
# DATA, EVAL: files, relative to WORK or absolute; without them the data sets that the recipes name.
# WORK: the folder in which the commands run and outputs/ is made; the repository by default.
#
# A stage runs again if its options, its recipe, its data or an earlier stage changed; the folder of the previous run is then
# renamed to FOLDER.old-TIME. A stage that was killed resumes.

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
# RESULT is the file that the verb writes last into FOLDER, RECIPE a YAML file or nothing, EARLIER the stages that it starts from.
# NAME_BEGUN is an empty file of the time at which the run in FOLDER began; its name has a checksum of the command.
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
