"""What stands below the pictures of the quality chapter."""

CAPTIONS = {
    "classes": (
        "Of the first draw, the first ten samples that the classifier takes for each digit, not chosen by looks. "
        "A gray cell: there were no more."
    ),
    "neighbours": (
        "Above, the ten samples of the first draw that are nearest to a training digit. Below, that digit. Under each "
        "pair, their distance over the training digit's distance to its own nearest neighbour. Nearly four in ten "
        "real test digits are below 1, too. This is screening, not proof: a copy that the features do not see would be "
        "missed."
    ),
    "epochs": (
        "At most 2,000 samples of the averaged generator after each epoch, from latents of their own, against as many "
        "real images; not comparable with the scores of all samples above."
    ),
    "neighbours_of_own_data": (
        "Above, the ten samples of the first draw that are nearest to a training image. Below, that image. Under each "
        "pair, their distance over the training image's distance to its own nearest neighbour. This is screening, not "
        "proof: a copy that the features do not see would be missed."
    ),
    "discriminator": (
        "After the DCGAN paper's own test (Radford et al. 2016, section 5): the discriminator's convolutional "
        "features, max-pooled, under a linear SVM. It is given few or many labels and reads the test digits. "
        "Features that are worth something beat an untrained discriminator and raw pixels."
    ),
}
